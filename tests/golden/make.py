"""Writes the golden values of this folder: PyTorch on the CPU, in f64, from closed formulas only.

    pip install torch numpy safetensors && python tests/golden/make.py

Inputs and weights are waves of their index, rounded to f32 so that every executor starts from the same
numbers; results and gradients are f64. A gradient is that of sum(dy * y), of a loss where there is one.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

F64 = torch.float64
LENGTHS = torch.tensor([9, 5])
WIDTH, EXPAND, FFN, KERNEL = 12, 2, 24, 5
BANDS, CHANNELS = 80, (4, 3)


def wave(shape, phase, scale=1.0, shift=0.0):
    """shift + scale * sin(phase + 0.9 n + 0.0371 n^2) at element n, rounded to f32."""
    n = torch.arange(torch.Size(shape).numel(), dtype=F64)
    values = shift + scale * torch.sin(phase + 0.9 * n + 0.0371 * n * n)
    return values.float().double().reshape(shape)


def linear(name, inputs, outputs, phase, scale=1.2):
    return {
        f"{name}.weight": wave([outputs, inputs], phase, scale / inputs**0.5),
        f"{name}.bias": wave([outputs], phase + 0.5, 0.2),
    }


def norm(name, width, phase):
    return {f"{name}.weight": wave([width], phase, 0.3, 1.0), f"{name}.bias": wave([width], phase + 0.5, 0.2)}


def save(name, inputs, results):
    """Inputs that f32 holds exactly are stored as f32, whole numbers as they are, everything else as f64."""
    tensors = {}
    for key, value in {**inputs, **results}.items():
        value = value.detach().contiguous().clone()
        exact = key in inputs and value.dtype == F64 and torch.equal(value.float().double(), value)
        tensors[key] = value.float() if exact else value
    save_file(tensors, Path(__file__).parent / f"{name}.safetensors")


def differentiated(name, inputs, forward, wrt):
    """Saves `inputs`, the results of `forward` by name and the gradients of sum(dy * y) for `wrt`."""
    leaves = {key: inputs[key].clone().requires_grad_() for key in wrt}
    results = forward({**inputs, **leaves})
    total = (results["y"] * inputs["dy"]).sum() if "y" in results else results["loss"].sum()
    slopes = torch.autograd.grad(total, list(leaves.values()))
    gradients = {f"gradient.{key}": slope for key, slope in zip(leaves, slopes)}
    save(name, inputs, {**results, **gradients})


def layer_norm(p, name, x):
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred * centred).mean(-1, keepdim=True)
    return centred / torch.sqrt(variance + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]


def project(p, name, x):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def gelu(x):
    return x * 0.5 * (1.0 + torch.erf(x / 2.0**0.5))


def valid_frames(lengths, time):
    return (torch.arange(time)[None, :] < lengths[:, None]).double()


# The Polynomial Mixer: the mean over valid frames of the running products of activated projections.


def mixer_parameters(prefix, degree, phase):
    state = degree * EXPAND * WIDTH
    return {
        **linear(f"{prefix}value", WIDTH, state, phase, 2.5),
        **linear(f"{prefix}gate", WIDTH, state, phase + 1.0),
        **linear(f"{prefix}output", state, WIDTH, phase + 2.0, 3.0),
        **norm(f"{prefix}norm", WIDTH, phase + 3.0),
    }


def mixer(p, prefix, degree, x, valid):
    parts = gelu(project(p, f"{prefix}value", x)).chunk(degree, dim=-1)
    powers = [parts[0]]
    for part in parts[1:]:
        powers.append(powers[-1] * part)
    weights = (valid / valid.sum(1, keepdim=True))[:, :, None]
    summary = (torch.cat(powers, -1) * weights).sum(1, keepdim=True)
    gate = torch.sigmoid(project(p, f"{prefix}gate", x))
    return layer_norm(p, f"{prefix}norm", project(p, f"{prefix}output", gate * summary))


def frames(phase):
    shape = [len(LENGTHS), int(LENGTHS.max()), WIDTH]
    return {
        "x": wave(shape, phase, 1.5),
        "dy": wave(shape, phase + 0.7),
        "lengths": LENGTHS,
        "valid": valid_frames(LENGTHS, shape[1]),
    }


def mixers():
    for degree in (2, 3):
        parameters = mixer_parameters("", degree, 0.1 * degree)
        inputs = {**frames(0.3 * degree), **parameters}
        forward = lambda p: {"y": mixer(p, "", degree, p["x"], p["valid"])}
        differentiated(f"mixer_k{degree}", inputs, forward, ["x", *parameters])


# One Conformer layer around the mixer of degree 2.


def feed_forward(p, name, x):
    return project(p, f"{name}.linear2", gelu(project(p, f"{name}.linear1", layer_norm(p, f"{name}.norm", x))))


def convolution(p, x, valid):
    valid = valid[:, :, None]
    left, right = project(p, "conv.pointwise", layer_norm(p, "conv.norm", x)).chunk(2, dim=-1)
    x = left * torch.sigmoid(right) * valid
    x = F.pad(x, (0, 0, KERNEL // 2, KERNEL // 2))
    taps = x.unfold(1, KERNEL, 1)
    x = (taps * p["conv.depthwise.weight"][:, 0, :]).sum(-1) + p["conv.depthwise.bias"]
    return project(p, "conv.project", gelu(layer_norm(p, "conv.after_norm", x))) * valid


def conformer(p):
    x, valid = p["x"], p["valid"]
    x = x + 0.5 * feed_forward(p, "ffn1", x)
    x = x + mixer(p, "mixer.", 2, layer_norm(p, "mixer_norm", x), valid)
    x = x + convolution(p, x, valid)
    x = x + 0.5 * feed_forward(p, "ffn2", x)
    return {"y": layer_norm(p, "norm", x)}


def conformer_layer():
    parameters = {
        **norm("ffn1.norm", WIDTH, 0.1),
        **linear("ffn1.linear1", WIDTH, FFN, 0.2),
        **linear("ffn1.linear2", FFN, WIDTH, 0.3),
        **norm("mixer_norm", WIDTH, 0.4),
        **mixer_parameters("mixer.", 2, 0.5),
        **norm("conv.norm", WIDTH, 0.6),
        **linear("conv.pointwise", WIDTH, 2 * WIDTH, 0.7),
        "conv.depthwise.weight": wave([WIDTH, 1, KERNEL], 0.8, 0.5),
        "conv.depthwise.bias": wave([WIDTH], 0.9, 0.2),
        **norm("conv.after_norm", WIDTH, 1.0),
        **linear("conv.project", WIDTH, WIDTH, 1.1),
        **norm("ffn2.norm", WIDTH, 1.2),
        **linear("ffn2.linear1", WIDTH, FFN, 1.3),
        **linear("ffn2.linear2", FFN, WIDTH, 1.4),
        **norm("norm", WIDTH, 1.5),
    }
    differentiated("conformer", {**frames(0.2), **parameters}, conformer, ["x", *parameters])


# The front-end: convolution weights are [out, in, time, frequency].


def front_end(p):
    x = p["x"][:, None]
    for block in range(2):
        name = f"blocks.{block}"
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        x = F.conv2d(x, p[f"{name}.conv.weight"], p[f"{name}.conv.bias"], stride=2)
        batch, channels, time, frequency = x.shape
        x = layer_norm(p, f"{name}.norm", x.permute(0, 2, 3, 1).reshape(batch, time, frequency * channels))
        blocks = torch.where(x > 0, x, 0.01 * x)
        x = blocks.reshape(batch, time, frequency, channels).permute(0, 3, 1, 2)
    return {"blocks": blocks, "y": project(p, "linear", blocks)}


def frontend():
    first, second = CHANNELS
    parameters = {
        "blocks.0.conv.weight": wave([first, 1, 3, 3], 0.1, 0.4),
        "blocks.0.conv.bias": wave([first], 0.2, 0.2),
        **norm("blocks.0.norm", BANDS // 2 * first, 0.3),
        "blocks.1.conv.weight": wave([second, first, 3, 3], 0.4, 0.2),
        "blocks.1.conv.bias": wave([second], 0.5, 0.2),
        **norm("blocks.1.norm", BANDS // 4 * second, 0.6),
        **linear("linear", BANDS // 4 * second, WIDTH, 0.7),
    }
    inputs = {"x": wave([2, 8, BANDS], 0.8, 1.5), "dy": wave([2, 2, WIDTH], 0.9), **parameters}
    differentiated("frontend", inputs, front_end, ["x", *parameters])


# Losses.


def ctc():
    """Repeated labels; a target as long as it may be; none; one that does not fit, of loss 0."""
    targets = torch.tensor([[2, 2, 1, 0], [4, 1, 3, 2], [0, 0, 0, 0], [3, 3, 3, 0]])
    input_lengths, target_lengths = torch.tensor([8, 4, 6, 4]), torch.tensor([3, 4, 0, 3])
    logits = wave([4, 8, 5], 0.4, 2.0)
    rest = (targets, input_lengths, target_lengths)

    def loss(logits, reduction, zero_infinity):
        log_probs = F.log_softmax(logits, -1).transpose(0, 1)
        return F.ctc_loss(log_probs, *rest, reduction=reduction, zero_infinity=zero_infinity)

    def forward(p):
        return {
            "losses": loss(p["logits"], "none", True),
            "infinite": torch.isinf(loss(p["logits"], "none", False)).double(),
            "loss": loss(p["logits"], "mean", True).reshape(1),
        }

    inputs = {
        "logits": logits,
        "targets": targets,
        "input_lengths": input_lengths,
        "target_lengths": target_lengths,
        "weights": 1.0 / (len(targets) * target_lengths.clamp(min=1).double()),
    }
    differentiated("ctc", inputs, forward, ["logits"])


def cross_entropy():
    """The first five of seven rows count."""
    targets, count = torch.tensor([0, 5, 2, 2, 1, 3, 4]), 5

    def forward(p):
        log_probs = F.log_softmax(p["logits"][:count], -1)
        hits = p["logits"][:count].argmax(-1) == targets[:count]
        return {
            "loss": -log_probs[torch.arange(count), targets[:count]].mean().reshape(1),
            "correct": hits.double().sum().reshape(1),
        }

    inputs = {"logits": wave([7, 6], 1.6, 3.0), "targets": targets, "count": torch.tensor([count])}
    differentiated("cross_entropy", inputs, forward, ["logits"])


# Three AdamW steps on two tensors; the first gradient is below the clipping norm, the others are above.


def adamw():
    rate, decay, betas, eps, clip = 0.01, 0.1, (0.9, 0.98), 1e-9, 1.5
    shapes = {"weight": [15], "bias": [7]}
    start = {name: wave(shape, 0.3) for name, shape in shapes.items()}
    inputs, results = {f"value.{name}": value for name, value in start.items()}, {}
    for name, shape in shapes.items():
        inputs[f"first.{name}"] = inputs[f"second.{name}"] = torch.zeros(shape, dtype=F64)
    values = {name: torch.nn.Parameter(value.clone()) for name, value in start.items()}
    optimizer = torch.optim.AdamW(values.values(), lr=rate, betas=betas, eps=eps, weight_decay=decay)
    for step, scale in enumerate((0.3, 2.0, 0.8), start=1):
        for index, (name, value) in enumerate(values.items()):
            inputs[f"slope.{step}.{name}"] = wave(shapes[name], 0.4 * step + index, scale)
            value.grad = inputs[f"slope.{step}.{name}"].clone()
        results[f"norm.{step}"] = torch.nn.utils.clip_grad_norm_(values.values(), clip).reshape(1)
        optimizer.step()
        corrections = [1.0 - beta**step for beta in betas]
        inputs[f"hyper.{step}"] = torch.tensor([rate, decay, *corrections], dtype=F64)
    for name, value in values.items():
        results[f"value.{name}.3"] = value
        results[f"first.{name}.3"] = optimizer.state[value]["exp_avg"]
        results[f"second.{name}.3"] = optimizer.state[value]["exp_avg_sq"]
    save("adamw", inputs, results)


if __name__ == "__main__":
    torch.set_num_threads(1)
    mixers()
    conformer_layer()
    frontend()
    ctc()
    cross_entropy()
    adamw()
