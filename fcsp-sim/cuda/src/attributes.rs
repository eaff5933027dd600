//! Device attributes by number: what the API names as plain integers.

use fcsp_sim::spec::DeviceSpec;

/// Returns the value of an attribute, or nothing for a number the API does not know at this
/// version.
pub fn device(spec: &DeviceSpec, attribute: i32) -> Option<i32> {
    Some(match attribute {
        1 => 1024,                          // threads a block
        2 | 3 => 1024,                      // block x, y
        4 => 64,                            // block z
        5 => i32::MAX,                      // grid x
        6 | 7 => 65_535,                    // grid y, z
        8 => 49_152,                        // shared memory a block
        9 => 65_536,                        // constant memory
        10 => 32,                           // warp
        11 => i32::MAX,                     // pitch
        12 | 82 => 65_536,                  // registers a block, a multiprocessor
        13 => spec.clock_khz as i32,        // clock
        14 | 30 => 512,                     // texture and surface alignment
        15 => 1,                            // overlap
        16 => spec.sm as i32,               // multiprocessors
        17 | 18 => 0,                       // time limit, integrated
        19 => 1,                            // can map host memory
        20 => 0,                            // compute mode: default
        21 => 131_072,                      // texture 1D
        22 => 131_072,                      // texture 2D width
        23 => 65_536,                       // texture 2D height
        24..=26 => 16_384,                  // texture 3D
        27 | 28 => 32_768,                  // layered 2D
        29 => 2_048,                        // layers
        31 => 1,                            // concurrent kernels
        32 => 1,                            // ECC
        33 => spec.pci_bus() as i32,        // PCI bus
        34 | 50 => 0,                       // PCI device, domain
        35 => 0,                            // TCC
        36 => spec.memory_clock_khz as i32, // memory clock
        37 => spec.bus_width as i32,        // memory bus
        38 => spec.l2 as i32,               // second-level cache
        39 => spec.threads_sm as i32,       // threads a multiprocessor
        40 => 3,                            // copy engines
        41 => 1,                            // unified addresses
        42 => 32_768,                       // layered 1D
        43 => 2_048,                        // its layers
        44 => 1,                            // gather (reserved now)
        45 | 46 => 32_768,                  // gather sizes
        47 | 48 => 8_192,                   // texture 3D, other shape
        49 => 32_768,                       // its depth
        51 => 32,                           // texture pitch alignment
        52 | 53 => 32_768,                  // cube maps
        54 => 2_046,                        // cube map layers
        55 => 32_768,                       // surface 1D
        56 => 131_072,                      // surface 2D width
        57 => 65_536,                       // surface 2D height
        58..=60 => 16_384,                  // surface 3D
        61 | 63 | 64 => 32_768,             // layered surfaces
        62 | 65 => 2_048,                   // their layers
        66 | 67 => 32_768,                  // cube map surfaces
        68 => 2_046,                        // their layers
        69 => 268_435_456,                  // linear 1D
        70 => 131_072,                      // linear 2D width
        71 => 65_000,                       // linear 2D height
        72 => 2_097_120,                    // linear 2D pitch
        73 | 74 => 32_768,                  // mipmapped 2D
        75 => spec.capability.0 as i32,     // compute capability
        76 => spec.capability.1 as i32,
        77 => 32_768,                             // mipmapped 1D
        78..=80 => 1,                // stream priorities, L1 for globals, L1 for locals
        81 => spec.shared_sm as i32, // shared memory a multiprocessor
        83 => 1,                     // managed memory
        84 | 85 => 0,                // boards of several devices
        86 => 0,                     // atomics on host memory
        87 => 2,                     // single to double speed
        88 => 0,                     // pageable memory
        89 => 1,                     // managed memory used by both sides at once
        90 => 1,                     // preemption
        91 => 1,                     // registered memory at its host address
        92..=94 => 0,                // first version of stream memory operations
        95 => 1,                     // cooperative launch
        96 => 0,                     // over several devices
        97 => spec.shared_sm as i32 - 1024, // shared memory a block on request
        98 => 0,                     // flush of remote writes
        99 => 1,                     // registering host memory
        100 | 101 => 0,              // host page tables, direct access from the host
        102 | 103 => 1,              // virtual memory calls, file descriptors
        104 | 105 => 0,              // Windows handles
        106 => 32,                   // blocks a multiprocessor
        107 => 0,                    // compression
        108 => (spec.l2 as i32 / 8) * 5, // persisting cache
        109 => 134_217_728,          // access policy window
        110 => 0,                    // direct RDMA
        111 => 1024,                 // shared memory that the system keeps a block
        112 => 0,                    // sparse arrays
        113 => 1,                    // read-only registration
        114 => 0,                    // timeline semaphores
        115 => 1,                    // memory pools
        116..=118 => 0,              // direct RDMA
        119 => 0,                    // handles of pools
        120 => i32::from(spec.capability.0 >= 9), // clusters
        121 => 0,                    // deferred arrays
        122 | 123 => 1,              // stream memory operations
        124 => 0,                    // DMA buffers
        125 => 0,                    // events between processes
        126 => 4,                    // memory synchronisation domains
        127 | 128 => 0,              // tensor maps, fabric handles
        129 => 1,                    // unified function pointers
        130 => 0,                    // NUMA configuration
        131 => -1,                   // NUMA id
        132 => 0,                    // multicast
        133 => 0,                    // MPS
        134 => 0,                    // host NUMA id
        135..=138 => 0,              // other APIs' queues, decompression
        139 => spec.pci_device as i32, // PCI ids
        140 => 0x16c1_10de,
        141..=146 => 0, // host memory by the virtual memory calls and pools
        _ => return None,
    })
}
