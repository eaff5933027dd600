"""PyTorch as people use it: training, inference, torch.compile, CUDA graphs, a multi-process DataLoader; the allocator is chosen by environment."""
import os
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
import numpy as np, torch
from report import Report, arguments

D = "cuda"


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(32, 64, 3, stride=2, padding=1), torch.nn.ReLU())
        self.mix = torch.nn.TransformerEncoderLayer(64, 4, 256, dropout=0.0, batch_first=True)
        self.out = torch.nn.Linear(64, 10)

    def forward(self, x):
        h = self.conv(x).flatten(2).transpose(1, 2)
        return self.out(self.mix(h).mean(1))


class Images(torch.utils.data.Dataset):
    def __len__(self):
        return 256

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i)
        return torch.randn(3, 16, 16, generator=g), i % 10


def train(r, batches, steps):
    torch.manual_seed(1)
    net = Net().to(D)
    opt, losses = torch.optim.AdamW(net.parameters(), lr=1e-3), []
    for _ in range(steps):
        for x, y in batches():
            opt.zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(net(x.to(D, non_blocking=True)), y.to(D, non_blocking=True))
            loss.backward()
            opt.step()
            losses.append(loss.detach())
    r.value("losses", torch.stack(losses).cpu().numpy())
    r.value("weights", torch.cat([p.detach().flatten() for p in net.parameters()]).cpu().numpy())


def main():
    a = arguments(["train", "infer", "compile", "graph", "loader"])
    # warn_only: an operation without a deterministic form still runs. The comparison then uses the
    # spread of the native runs.
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    if a.mode in ("train", "loader"):
        torch.backends.cuda.enable_flash_sdp(False)
        torch.backends.cuda.enable_mem_efficient_sdp(False)
    r = Report()
    torch.manual_seed(0)
    x, y = torch.randn(64, 3, 16, 16), torch.randint(0, 10, (64,))
    if a.mode == "train":
        train(r, lambda: [(x, y)], 20)
    elif a.mode == "loader":
        data = torch.utils.data.DataLoader(Images(), batch_size=32, num_workers=4, pin_memory=True, persistent_workers=True)
        train(r, lambda: data, 2)
    else:
        torch.manual_seed(1)
        net, xd = Net().to(D).eval(), x.to(D)
        with torch.no_grad():
            if a.mode == "infer":
                for dtype in (torch.float32, torch.bfloat16):
                    r.value(str(dtype), torch.cat([net.to(dtype)(xd.to(dtype) * k) for k in range(1, 9)]).float().cpu().numpy())
            elif a.mode == "compile":
                fast = torch.compile(net)
                r.value("compiled", torch.cat([fast(xd * k) for k in range(1, 5)]).cpu().numpy())
            else:
                static = xd.clone()
                side = torch.cuda.Stream()
                side.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(side):
                    for _ in range(3):
                        net(static)
                torch.cuda.current_stream().wait_stream(side)
                g = torch.cuda.CUDAGraph()
                with torch.cuda.graph(g):
                    out = net(static)
                got = []
                for k in range(1, 9):
                    static.copy_(xd * k)
                    g.replay()
                    got.append(out.clone())
                r.value("replayed", torch.cat(got).cpu().numpy())
    r.look(mem_get_info_total=torch.cuda.mem_get_info()[1], properties_total=torch.cuda.get_device_properties(0).total_memory)
    if a.quota:
        m = torch.randn(512, 512, device=D, dtype=torch.float32, generator=torch.Generator(D).manual_seed(3))
        r.fill(a.quota, lambda n: torch.empty(n, dtype=torch.uint8, device=D), torch.OutOfMemoryError, torch.cuda.empty_cache, lambda: (m @ m).cpu().numpy())
    r.print()


if __name__ == "__main__":
    main()
