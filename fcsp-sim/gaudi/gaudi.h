/* What the simulated libSynapse.so and libhlml.so have, for clients to be compiled against. The vendor's own headers come
 * with its driver; where they are at hand, the same clients compile against them. */
#ifndef FCSP_SIM_GAUDI_H
#define FCSP_SIM_GAUDI_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* libSynapse.so */

typedef enum synStatus {
    synSuccess = 0,
    synInvalidArgument = 1,
    synOutOfHostMemory = 3,
    synOutOfDeviceMemory = 4,
    synObjectNotInitialized = 6,
    synNoDeviceFound = 8,
    synDeviceTypeMismatch = 9,
    synFailedToAllocateDeviceMemory = 14,
    synFailedToFreeDeviceMemory = 15,
    synUnsupported = 18,
    synDeviceAlreadyAcquired = 20,
    synNameIsAlreadyUsed = 21,
    synBusy = 22,
    synFail = 26,
    synUninitialized = 28,
} synStatus;

typedef enum synDeviceType { synDeviceGaudi = 2, synDeviceGaudi2 = 4, synDeviceGaudi3 = 5, synDeviceTypeInvalid = 7 } synDeviceType;
typedef enum synDmaDir { HOST_TO_DRAM, DRAM_TO_HOST, DRAM_TO_DRAM } synDmaDir;
typedef enum synDeviceAttribute {
    DEVICE_ATTRIBUTE_DRAM_BASE_ADDRESS = 1,
    DEVICE_ATTRIBUTE_SRAM_SIZE = 2,
    DEVICE_ATTRIBUTE_DRAM_SIZE = 3,
    DEVICE_ATTRIBUTE_DRAM_FREE_SIZE = 4,
    DEVICE_ATTRIBUTE_DEVICE_TYPE = 7,
    DEVICE_ATTRIBUTE_ADDRESS_ALIGNMENT_SIZE = 11,
} synDeviceAttribute;

typedef uint32_t synDeviceId;
typedef uint32_t synModuleId;
typedef struct InternalStreamHandle *synStreamHandle;
typedef struct EventInterfaceExternal *synEventHandle;
typedef struct InternalGraphHandle *synGraphHandle;
typedef struct SectionHandleExternal *synSectionHandle;
typedef struct InternalRecipeHandle *synRecipeHandle;
typedef struct InternalTensor *synTensor;

#define HABANA_DIM_MAX 25
#define SYN_FLAGS_TENSOR_NAME 0x1
enum eventCreateFlags { EVENT_COLLECT_TIME = 1 };
typedef uint64_t TSize;
typedef enum synTensorType { DATA_TENSOR = 0 } synTensorType;
typedef enum synDataType { syn_type_int8 = 1, syn_type_bf16 = 2, syn_type_single = 4, syn_type_int16 = 8 } synDataType;
typedef enum synGeometryType { synGeometryMinSizes, synGeometryMaxSizes, synGeometrySizes = synGeometryMaxSizes } synGeometryType;

typedef struct synTensorGeometry {
    TSize sizes[HABANA_DIM_MAX];
    uint32_t dims;
} synTensorGeometry;

typedef struct synLaunchTensorInfo {
    const char *tensorName;
    uint64_t pTensorAddress;
    synTensorType tensorType;
    TSize tensorSize[HABANA_DIM_MAX];
    uint64_t tensorId;
} synLaunchTensorInfo, synLaunchTensorInfoExt;

typedef struct synDeviceInfo {
    uint64_t sramBaseAddress;
    uint64_t dramBaseAddress;
    uint32_t sramSize;
    uint64_t dramSize;
    uint64_t tpcEnabledMask;
    uint8_t dramEnabled;
    uint32_t deviceId;
    uint32_t fd;
    synDeviceType deviceType;
} synDeviceInfo;

typedef struct synDeviceInfoV2 {
    uint64_t sramBaseAddress;
    uint64_t dramBaseAddress;
    uint32_t sramSize;
    uint64_t dramSize;
    uint64_t tpcEnabledMask;
    uint8_t dramEnabled;
    uint32_t deviceId;
    uint32_t fd;
    synDeviceType deviceType;
    uint8_t deviceIndex;
    uint64_t globalHbmBaseAddress;
} synDeviceInfoV2;

synStatus synInitialize(void);
synStatus synDestroy(void);
synStatus synDriverGetVersion(char *version, int len);
synStatus synDeviceGetCount(uint32_t *count);
synStatus synDeviceGetCountByDeviceType(uint32_t *count, synDeviceType type);
synStatus synDeviceGetModuleIDs(uint32_t *modules, uint32_t *size);
synStatus synDeviceAcquireByDeviceType(synDeviceId *device, synDeviceType type);
synStatus synDeviceAcquireByModuleId(synDeviceId *device, synModuleId module);
synStatus synDeviceAcquire(synDeviceId *device, const char *pci);
synStatus synDeviceRelease(synDeviceId device);
synStatus synDeviceSynchronize(synDeviceId device);
synStatus synDeviceGetName(char *name, int len, synDeviceId device);
synStatus synDeviceGetPCIBusId(char *pci, int len, synDeviceId device);
synStatus synDeviceGetMemoryInfo(synDeviceId device, uint64_t *unused, uint64_t *total);
synStatus synDeviceGetInfo(synDeviceId device, synDeviceInfo *info);
synStatus synDeviceGetInfoV2(synDeviceId device, synDeviceInfoV2 *info);
synStatus synDeviceGetAttribute(uint64_t *values, const synDeviceAttribute *attributes, unsigned count, synDeviceId device);
synStatus synDeviceGetAttributeByModuleId(uint64_t *values, const synDeviceAttribute *attributes, unsigned count,
                                          synModuleId module);
synStatus synDeviceMalloc(synDeviceId device, uint64_t size, uint64_t wanted, uint32_t flags, uint64_t *buffer);
synStatus synDeviceFree(synDeviceId device, uint64_t buffer, uint32_t flags);
synStatus synHostMalloc(synDeviceId device, uint64_t size, uint32_t flags, void **buffer);
synStatus synHostFree(synDeviceId device, const void *buffer, uint32_t flags);
synStatus synStreamCreateGeneric(synStreamHandle *stream, synDeviceId device, uint32_t flags);
synStatus synStreamDestroy(synStreamHandle stream);
synStatus synStreamSynchronize(synStreamHandle stream);
synStatus synStreamQuery(synStreamHandle stream);
synStatus synStreamWaitEvent(synStreamHandle stream, synEventHandle event, uint32_t flags);
synStatus synEventCreate(synEventHandle *event, synDeviceId device, uint32_t flags);
synStatus synEventDestroy(synEventHandle event);
synStatus synEventRecord(synEventHandle event, synStreamHandle stream);
synStatus synEventQuery(synEventHandle event);
synStatus synEventSynchronize(synEventHandle event);
synStatus synEventElapsedTime(uint64_t *nanoseconds, synEventHandle start, synEventHandle end);
synStatus synGraphCreate(synGraphHandle *graph, synDeviceType type);
synStatus synGraphDestroy(synGraphHandle graph);
synStatus synGraphCompile(synRecipeHandle *recipe, synGraphHandle graph, const char *name, const char *log);
synStatus synSectionCreate(synSectionHandle *section, uint64_t descriptor, synGraphHandle graph);
synStatus synSectionSetPersistent(synSectionHandle section, bool persistent);
synStatus synSectionDestroy(synSectionHandle section);
synStatus synTensorHandleCreate(synTensor *tensor, synGraphHandle graph, synTensorType type, const char *name);
synStatus synTensorSetGeometry(synTensor tensor, const synTensorGeometry *geometry, synGeometryType type);
synStatus synTensorSetDeviceDataType(synTensor tensor, synDataType type);
synStatus synTensorAssignToSection(synTensor tensor, synSectionHandle section, uint64_t offset);
synStatus synTensorDestroy(synTensor tensor);
synStatus synTensorRetrieveIds(synRecipeHandle recipe, const char **names, uint64_t *ids, uint32_t count);
synStatus synNodeCreate(synGraphHandle graph, const synTensor *inputs, const synTensor *outputs, uint32_t input_count,
                        uint32_t output_count, const void *parameters, unsigned parameter_bytes, const char *guid,
                        const char *name, const char **input_layouts, const char **output_layouts);
synStatus synWorkspaceGetSize(uint64_t *bytes, synRecipeHandle recipe);
synStatus synRecipeDestroy(synRecipeHandle recipe);
synStatus synRecipeSerialize(synRecipeHandle recipe, const char *path);
synStatus synRecipeDeSerialize(synRecipeHandle *recipe, const char *path);
synStatus synLaunch(synStreamHandle stream, const synLaunchTensorInfo *tensors, uint32_t count, uint64_t workspace,
                    synRecipeHandle recipe, uint32_t flags);
synStatus synLaunchExt(synStreamHandle stream, const synLaunchTensorInfoExt *tensors, uint32_t count, uint64_t workspace,
                       synRecipeHandle recipe, uint32_t flags);
synStatus synLaunchWithExternalEvents(synStreamHandle stream, const synLaunchTensorInfo *tensors, uint32_t count,
                                      uint64_t workspace, synRecipeHandle recipe, synEventHandle *events,
                                      uint32_t event_count, uint32_t flags);
synStatus synLaunchWithExternalEventsExt(synStreamHandle stream, const synLaunchTensorInfoExt *tensors, uint32_t count,
                                         uint64_t workspace, synRecipeHandle recipe, synEventHandle *events,
                                         uint32_t event_count, uint32_t flags);
synStatus synMemCopyAsync(synStreamHandle stream, uint64_t source, uint64_t size, uint64_t destination, synDmaDir direction);
synStatus synMemsetD8Async(uint64_t address, unsigned char value, size_t count, synStreamHandle stream);
synStatus synMemsetD16Async(uint64_t address, uint16_t value, size_t count, synStreamHandle stream);
synStatus synMemsetD32Async(uint64_t address, uint32_t value, size_t count, synStreamHandle stream);

/* libhlml.so */

typedef enum hlml_return {
    HLML_SUCCESS = 0,
    HLML_ERROR_UNINITIALIZED = 1,
    HLML_ERROR_INVALID_ARGUMENT = 2,
    HLML_ERROR_ALREADY_INITIALIZED = 5,
    HLML_ERROR_NOT_FOUND = 6,
    HLML_ERROR_INSUFFICIENT_SIZE = 7,
    HLML_ERROR_DRIVER_NOT_LOADED = 9,
} hlml_return_t;

typedef void *hlml_device_t;
typedef struct hlml_utilization { unsigned aip, memory; } hlml_utilization_t;
typedef struct hlml_memory { unsigned long long free, total, used; } hlml_memory_t;
typedef struct hlml_pci_cap { char link_speed[10], link_width[10], link_max_speed[10], link_max_width[10]; } hlml_pci_cap_t;
typedef struct hlml_pci_info {
    unsigned bus;
    char bus_id[19];
    unsigned device, domain, pci_device_id;
    hlml_pci_cap_t caps;
    unsigned pci_rev, pci_subsys_id;
} hlml_pci_info_t;

hlml_return_t hlml_init(void);
hlml_return_t hlml_init_with_flags(unsigned flags);
hlml_return_t hlml_shutdown(void);
hlml_return_t hlml_device_get_count(unsigned *count);
hlml_return_t hlml_device_get_handle_by_index(unsigned index, hlml_device_t *device);
hlml_return_t hlml_device_get_handle_by_UUID(const char *uuid, hlml_device_t *device);
hlml_return_t hlml_device_get_handle_by_pci_bus_id(const char *pci, hlml_device_t *device);
hlml_return_t hlml_device_get_name(hlml_device_t device, char *name, unsigned length);
hlml_return_t hlml_device_get_uuid(hlml_device_t device, char *uuid, unsigned length);
hlml_return_t hlml_device_get_pci_info(hlml_device_t device, hlml_pci_info_t *pci);
hlml_return_t hlml_device_get_minor_number(hlml_device_t device, unsigned *minor);
hlml_return_t hlml_device_get_module_id(hlml_device_t device, unsigned *module);
hlml_return_t hlml_device_get_memory_info(hlml_device_t device, hlml_memory_t *memory);
hlml_return_t hlml_device_get_utilization_rates(hlml_device_t device, hlml_utilization_t *utilization);
#endif
