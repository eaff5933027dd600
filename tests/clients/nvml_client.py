"""What a program of a tenant learns from the management library by nvidia-ml-py: its quota as the device, its own
processes and no neighbour's. Arguments: a process number that must be shown, one that must not."""

import sys

import pynvml as nvml

own, foreign = (int(text) for text in sys.argv[1:])
nvml.nvmlInit()
device = nvml.nvmlDeviceGetHandleByIndex(0)
memory = nvml.nvmlDeviceGetMemoryInfo(device)
second = nvml.nvmlDeviceGetMemoryInfo(device, version=nvml.nvmlMemory_v2)
assert (memory.total, memory.used, memory.free) == (second.total, second.used, second.free)
assert second.reserved == 0
pids = [process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(device)]
assert own in pids, pids
assert foreign not in pids, pids
assert nvml.nvmlDeviceGetGraphicsRunningProcesses(device) == []
assert nvml.nvmlDeviceGetCount() == 1
assert nvml.nvmlDeviceGetUUID(device).startswith("GPU-")
print(f"total {memory.total} used {memory.used} free {memory.free}")
nvml.nvmlShutdown()
