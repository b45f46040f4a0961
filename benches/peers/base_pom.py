"""The base model of the paper in eager PyTorch on a CUDA device, to compare with `polymix profile`.

    python benches/peers/base_pom.py [--seconds 80] [--batch 6]

Prints medians in milliseconds: products of 4096 x 4096 matrices in f32 (no TF32) and f16; the encoder's forward pass in
inference mode; forward, backward and AdamW of the BEST-RQ loss with dropout; each in f32, the model also in f16 by
autocast. Same layers, sizes and masks as `recipes/librispeech-base.toml`; the weights are PyTorch's initial ones.
"""

import argparse
import math
import time

import torch
import torch.nn.functional as F
from torch import nn

BANDS, CODES = 80, 8192
D, LAYERS, FFN, KERNEL, STATE = 488, 12, 2048, 31, 4 * 488
CHANNELS = (128, 32)


class FeedForward(nn.Sequential):
    def __init__(self):
        drop = nn.Dropout(0.1)
        super().__init__(nn.LayerNorm(D), nn.Linear(D, FFN), nn.GELU(), drop, nn.Linear(FFN, D), drop)


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.value, self.gate, self.output = nn.Linear(D, STATE), nn.Linear(D, STATE), nn.Linear(STATE, D)
        self.norm = nn.LayerNorm(D)

    def forward(self, x, valid):
        first, second = F.gelu(self.value(x)).chunk(2, -1)
        powers = torch.cat([first, first * second], -1)
        means = (powers * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True)
        return self.norm(self.output(torch.sigmoid(self.gate(x)) * means))


class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.after_norm = nn.LayerNorm(D), nn.LayerNorm(D)
        self.pointwise, self.project = nn.Linear(D, 2 * D), nn.Linear(D, D)
        self.depthwise = nn.Conv1d(D, D, KERNEL, padding=KERNEL // 2, groups=D)
        self.drop = nn.Dropout(0.1)

    def forward(self, x, valid):
        x = F.glu(self.pointwise(self.norm(x)), -1) * valid
        x = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return self.drop(self.project(F.gelu(self.after_norm(x)))) * valid


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.after = FeedForward(), FeedForward()
        self.mixer_norm, self.norm = nn.LayerNorm(D), nn.LayerNorm(D)
        self.mixer, self.convolution = Mixer(), Convolution()

    def forward(self, x, valid):
        x = x + 0.5 * self.before(x)
        x = x + self.mixer(self.mixer_norm(x), valid)
        x = x + self.convolution(x, valid)
        return self.norm(x + 0.5 * self.after(x))


class Block(nn.Module):
    def __init__(self, inputs, outputs, bands):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, padding_mode="reflect")
        self.norm = nn.LayerNorm(bands * outputs)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        x = self.convolution(x).permute(0, 2, 3, 1)
        batch, frames, bands, channels = x.shape
        x = self.drop(F.leaky_relu(self.norm(x.flatten(2)), 0.01))
        return x.view(batch, frames, bands, channels).permute(0, 3, 1, 2)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        first, second = CHANNELS
        self.blocks = nn.Sequential(Block(1, first, BANDS // 2), Block(first, second, BANDS // 4))
        self.linear, self.drop = nn.Linear(BANDS // 4 * second, D), nn.Dropout(0.1)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(D, eps=1e-6), nn.Linear(D, CODES)

    def encode(self, features, valid):
        x = self.linear(self.blocks(features[:, None]).permute(0, 2, 3, 1).flatten(2))
        x = self.drop(x + positions(x.shape[1], x.device))
        for layer in self.layers:
            x = layer(x, valid)
        return self.norm(x)

    def loss(self, features, valid, masked, targets):
        x = self.encode(features, valid).flatten(0, 1)[masked]
        return F.cross_entropy(self.head(x).float(), targets)


def positions(frames, device):
    frame = torch.arange(frames, device=device)[:, None]
    angle = frame * torch.exp(torch.arange(0, D, 2, device=device) * (-math.log(10000.0) / D))
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)


def median(work, runs=10, warm_up=3):
    times = []
    for _ in range(warm_up + runs):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - begun))
    return sorted(times[warm_up:])[runs // 2]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=80)
    parser.add_argument("--batch", type=int, default=6)
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)
    device = "cuda"
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    for dtype in (torch.float32, torch.float16):
        a, b = (torch.randn(4096, 4096, device=device, dtype=dtype) for _ in range(2))
        ms = median(lambda: a @ b)
        print(f"matmul 4096, {dtype}: {ms:.3f} ms, {2e-9 * 4096**3 / ms:.1f} TFLOP/s")

    model = Model().to(device)
    frames = (int(options.seconds * 100) + 1 + 3) // 4 * 4
    features = torch.randn(options.batch, frames, BANDS, device=device)
    valid = torch.ones(options.batch, frames // 4, 1, device=device)
    masked = torch.rand(options.batch * frames // 4, device=device) < 0.6
    masked = masked.nonzero()[:, 0]
    targets = torch.randint(CODES, masked.shape, device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.1)

    def infer():
        with torch.no_grad():
            model.encode(features, valid)

    def step():
        optimizer.zero_grad()
        model.loss(features, valid, masked, targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()

    for name, enabled in (("f32", False), ("f16 autocast", True)):
        with torch.autocast(device, torch.float16, enabled=enabled):
            model.eval()
            print(f"inference, {options.batch} x {options.seconds} s, {name}: {median(infer):.1f} ms")
            model.train()
            torch.cuda.reset_peak_memory_stats()
            ms = median(step)
            gib = torch.cuda.max_memory_allocated() / 2**30
            print(f"training step, {options.batch} x {options.seconds} s, {name}: {ms:.1f} ms, {gib:.2f} GiB")


main()
