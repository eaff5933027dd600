//! Tests of the calls that pass the gate. Each way to submit work, used once by a tenant with a
//! share, must show in the tenant's charges. Work that only moves bytes over the bus, or is only
//! recorded, must not.

use crate::{Client, MIB, Machine, program};

const TENANT: &str = "t";

/// Starts a client of a tenant with half the device's time.
fn shared(machine: &Machine) -> Client {
    let mut command = machine.governed(program("client"), TENANT, "4GiB");
    command.env("FCSP_COMPUTE_LIMIT", "50%");
    let mut client = Client::start(command);
    client.ok("open 0");
    client
}

/// Returns the GPU time charged to the tenant on its only device, ns.
fn charged(machine: &Machine) -> u64 {
    machine.tenant(TENANT)["devices"][0]["compute"]["consumed_ns"]
        .as_u64()
        .unwrap_or(0)
}

/// Memory and a stream of a client.
struct Place {
    from: u64,
    to: u64,
    stream: u64,
}

const BYTES: u64 = 4 * MIB;
const ROW: u64 = 4096;
const ROWS: u64 = BYTES / ROW;

/// Makes `calls` in a process of its own and says what it was charged.
fn charge_of(calls: impl FnOnce(&mut Client, &Place)) -> u64 {
    let machine = Machine::new();
    let mut client = shared(&machine);
    let place = Place {
        from: client.ok(&format!("alloc {BYTES}")),
        to: client.ok(&format!("alloc {BYTES}")),
        stream: client.ok("stream"),
    };
    assert_eq!(charged(&machine), 0, "nothing has been launched");
    calls(&mut client, &place);
    charged(&machine)
}

/// `CUDA_MEMCPY2D` in words.
fn rows_2d(place: &Place) -> String {
    let Place { from, to, .. } = place;
    format!("0 0 2 0 {from} 0 {ROW} 0 0 2 0 {to} 0 {ROW} {ROW} {ROWS}")
}

/// `CUDA_MEMCPY3D`, or with the reserved words as contexts `CUDA_MEMCPY3D_PEER`, in words.
fn rows_3d(place: &Place) -> String {
    let Place { from, to, .. } = place;
    format!("0 0 0 0 2 0 {from} 0 0 {ROW} {ROWS} 0 0 0 0 2 0 {to} 0 0 {ROW} {ROWS} {ROW} {ROWS} 1")
}

#[test]
fn every_copy_and_fill_inside_the_device_is_charged() {
    let n = BYTES;
    type Arguments = fn(&Place, [u64; 3]) -> String;
    let plain: Arguments = |p, _| format!("{} {} {BYTES}", p.to, p.from);
    let on_stream: Arguments = |p, _| format!("{} {} {BYTES} {}", p.to, p.from, p.stream);
    let struct_only: Arguments = |_, [room, ..]| format!("{room}");
    let struct_stream: Arguments = |p, [room, ..]| format!("{room} {}", p.stream);
    let batch: Arguments =
        |p, [to, from, sizes]| format!("{to} {from} {sizes} 1 0 0 0 {} {}", p.stream, p.stream);
    let fill: Arguments = |p, _| format!("{} 1 {BYTES}", p.to);
    let fill_stream: Arguments = |p, _| format!("{} 1 {BYTES} {}", p.to, p.stream);
    let fill_rows: Arguments = |p, _| format!("{} {ROW} 1 {} {ROWS}", p.to, ROW / 4);
    let fill_rows_stream: Arguments =
        |p, _| format!("{} {ROW} 1 {} {ROWS} {}", p.to, ROW / 4, p.stream);
    let peer: Arguments = |p, _| format!("{} 0 {} 0 {BYTES} {}", p.to, p.from, p.stream);
    let routes: &[(&[&str], Arguments)] = &[
        (
            &[
                "cuMemcpyDtoD_v2",
                "cuMemcpyDtoD_v2_ptds",
                "cuMemcpy",
                "cuMemcpy_ptds",
            ],
            plain,
        ),
        (
            &[
                "cuMemcpyDtoDAsync_v2",
                "cuMemcpyDtoDAsync_v2_ptsz",
                "cuMemcpyAsync",
                "cuMemcpyAsync_ptsz",
            ],
            on_stream,
        ),
        (
            &[
                "cuMemcpyPeer",
                "cuMemcpyPeerAsync",
                "cuMemcpyPeerAsync_ptsz",
            ],
            peer,
        ),
        (
            &[
                "cuMemcpy2D_v2",
                "cuMemcpy2DUnaligned_v2",
                "cuMemcpy2D_v2_ptds",
            ],
            struct_only,
        ),
        (
            &["cuMemcpy2DAsync_v2", "cuMemcpy2DAsync_v2_ptsz"],
            struct_stream,
        ),
        (
            &["cuMemcpyBatchAsync_v2", "cuMemcpyBatchAsync_v2_ptsz"],
            batch,
        ),
        (
            &[
                "cuMemsetD8_v2",
                "cuMemsetD16_v2",
                "cuMemsetD32_v2",
                "cuMemsetD8_v2_ptds",
            ],
            fill,
        ),
        (
            &[
                "cuMemsetD8Async",
                "cuMemsetD16Async",
                "cuMemsetD32Async_ptsz",
            ],
            fill_stream,
        ),
        (&["cuMemsetD2D32_v2", "cuMemsetD2D32_v2_ptds"], fill_rows),
        (
            &["cuMemsetD2D32Async", "cuMemsetD2D32Async_ptsz"],
            fill_rows_stream,
        ),
    ];
    let try_route = |name: &str, arguments: Arguments, structure: fn(&Place) -> String| {
        let mut code = -1;
        let charged = charge_of(|client, place| {
            let first = client.ok(&format!("words 0 {}", structure(place)));
            let rooms = if name.contains("Batch") {
                [
                    client.ok(&format!("words 1 {}", place.to)),
                    client.ok(&format!("words 2 {}", place.from)),
                    client.ok(&format!("words 3 {n}")),
                ]
            } else {
                [first, 0, 0]
            };
            code = client.code(&format!("call {name} {}", arguments(place, rooms)));
        });
        assert!(
            charged > 0,
            "{name} was not charged (the driver said {code})"
        );
        code
    };
    for (names, arguments) in routes {
        for name in *names {
            // Fills of wider elements pass the end of the block; the gate stands before the
            // driver's own check.
            let code = try_route(name, *arguments, rows_2d);
            assert!(
                code == 0 || name.contains("D16") || name.contains("D32"),
                "{name}: {code}"
            );
        }
    }
    for name in ["cuMemcpy3D_v2", "cuMemcpy3D_v2_ptds", "cuMemcpy3DPeer"] {
        assert_eq!(try_route(name, struct_only, rows_3d), 0, "{name}");
    }
    for name in [
        "cuMemcpy3DAsync_v2",
        "cuMemcpy3DAsync_v2_ptsz",
        "cuMemcpy3DPeerAsync",
    ] {
        assert_eq!(try_route(name, struct_stream, rows_3d), 0, "{name}");
    }
}

#[test]
fn small_copies_and_those_over_the_bus_are_not_charged() {
    let charged = charge_of(|client, place| {
        let Place { from, to, stream } = place;
        let host = client.ok("words 0");
        for call in [
            format!("cuMemcpyDtoD_v2 {to} {from} 4096"),
            format!("cuMemsetD8_v2 {to} 1 4096"),
            format!("cuMemcpyHtoD_v2 {to} {host} 512"),
            format!("cuMemcpyDtoH_v2 {host} {from} 512"),
            format!("cuMemcpyHtoDAsync_v2 {to} {host} 512 {stream}"),
            format!("cuMemcpyDtoHAsync_v2 {host} {from} 512 {stream}"),
            format!("cuMemcpyAsync {to} {host} 512 {stream}"),
        ] {
            assert_eq!(client.code(&format!("call {call}")), 0, "{call}");
        }
    });
    assert_eq!(charged, 0);
}

#[test]
fn launches_of_every_age_are_charged() {
    // The simulated driver knows none of these any more, but the gate stands before the driver.
    for call in [
        "cuLaunch F",
        "cuLaunchGrid F 2 2",
        "cuLaunchGridAsync F 2 2 S",
        "multi",
    ] {
        let machine = Machine::new();
        let mut client = shared(&machine);
        let stream = client.ok("stream");
        let function = client.ok("spin 1000");
        client.ok("call cuCtxSynchronize");
        // More than the first slice of credit holds, so that the last of them has to ask again.
        let before = charged(&machine);
        let call = match call {
            "multi" => {
                // One CUDA_LAUNCH_PARAMS: function, grid, block and shared memory in four words,
                // stream, parameters.
                let one = 1u64 | 1 << 32;
                let list = client.ok(&format!(
                    "words 0 {function} {one} {one} {one} 0 {stream} 0"
                ));
                format!("cuLaunchCooperativeKernelMultiDevice {list} 1 0")
            }
            other => other
                .replace('F', &function.to_string())
                .replace('S', &stream.to_string()),
        };
        for _ in 0..2_000 {
            client.code(&format!("call {call}"));
        }
        assert!(charged(&machine) > before, "{call} was not charged");
    }
}

#[test]
fn a_capture_left_open_lets_nothing_by_and_what_it_records_is_not_charged() {
    // Global, thread-local and relaxed.
    for mode in 0..3 {
        let fill = |to: u64, stream: u64| format!("call cuMemsetD8Async {to} 1 {BYTES} {stream}");
        let charged = charge_of(|client, place| {
            let recording = client.ok(&format!("capture {}", mode + 1));
            assert_eq!(client.code(&fill(place.to, recording)), 0);
        });
        assert_eq!(charged, 0, "recorded in mode {mode}");
        let charged = charge_of(|client, place| {
            let recording = client.ok(&format!("capture {}", mode + 1));
            assert_eq!(client.code(&fill(place.to, place.stream)), 0);
            assert_eq!(client.code(&fill(place.to, recording)), 0);
            // The questions asked beside it have not broken the capture.
            let (code, values) = client.call("captured");
            assert_eq!(code, 0, "mode {mode}");
            assert_ne!(values[0], 0);
        });
        assert!(charged > 0, "launched beside a capture in mode {mode}");
    }
}

#[test]
fn what_the_time_goes_into_is_published_by_class() {
    for (call, class) in [
        (format!("call cuMemsetD8Async TO 1 {BYTES} 0"), "copy"),
        (
            "named ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_64x3_tn".to_owned(),
            "gemm",
        ),
        ("named flash_fwd_kernel".to_owned(), "attention"),
        ("spin 1000".to_owned(), "other"),
    ] {
        let machine = Machine::new();
        let mut client = shared(&machine);
        let to = client.ok(&format!("alloc {BYTES}"));
        client.ok(&call.replace("TO", &to.to_string()));
        let compute = &machine.tenant(TENANT)["devices"][0]["compute"];
        assert_eq!(
            compute["mix"],
            serde_json::json!({ class: 1.0 }),
            "{call}: {compute}"
        );
        assert_eq!(compute["sensitivity"], "none", "one launch says nothing");
    }
}

#[test]
fn a_graph_is_counted_as_what_most_of_it_is() {
    let machine = Machine::new();
    let mut client = shared(&machine);
    client.ok("capture");
    client.ok("named flash_fwd_kernel");
    for _ in 0..5 {
        client.ok("named ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_64x3_tn");
    }
    let graph = client.ok("captured");
    let executable = client.ok(&format!("instantiate {graph}"));
    assert_eq!(charged(&machine), 0, "what is recorded is not charged");
    client.ok(&format!("launch {executable}"));
    let compute = &machine.tenant(TENANT)["devices"][0]["compute"];
    assert_eq!(
        compute["mix"],
        serde_json::json!({ "gemm": 1.0 }),
        "{compute}"
    );
}
