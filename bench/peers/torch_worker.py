"""PyTorch on the CPU: channels_last (oneDNN), Adam, no DataLoader; the best of eager and compiled."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from peers import networks, torch_bfloat16
from peers.memory import peak_above
from peers.operands import matmul_operands
from peers.ops_torch import op
from peers.protocol import Measurement, Request, fastest, serve, thread_count
from peers.torch_conv import variants


class Twin(nn.Module):
    """A network of `networks` with its shared weights; takes NHWC tensors, gives logits."""

    def __init__(self, network: networks.Network) -> None:
        super().__init__()
        given = iter(networks.weights(network))
        self.steps = nn.ModuleList()
        self.kinds: list[str] = []
        for layer, shape in zip(network.layers, networks.shapes(network), strict=False):
            if isinstance(layer, networks.Conv):
                (top, bottom), (left, right) = layer.pads(shape[0], shape[1])
                even = top == bottom and left == right
                if not even:
                    self.add("pad", nn.ZeroPad2d((left, right, top, bottom)))
                conv = nn.Conv2d(
                    shape[-1], layer.filters, layer.kernel, layer.strides, (top, left) if even else (0, 0)
                )
                self.fill(conv, torch.from_numpy(next(given)).permute(3, 2, 0, 1), next(given))
                self.add("conv", conv)
            elif isinstance(layer, networks.Pool):
                self.add("pool", nn.MaxPool2d(layer.size))
            elif isinstance(layer, networks.Dense):
                dense = nn.Linear(shape[0], layer.units)
                self.fill(dense, torch.from_numpy(next(given)).T, next(given))
                self.add("dense" if layer.activation == "relu" else "logits", dense)
            else:
                self.add("flatten", nn.Identity())
        self.to(memory_format=torch.channels_last)

    def add(self, kind: str, module: nn.Module) -> None:
        """Append a step."""
        self.kinds.append(kind)
        self.steps.append(module)

    def fill(self, module: Any, w: torch.Tensor, b: Any) -> None:
        """Set a layer's weights."""
        with torch.no_grad():
            module.weight.copy_(w)
            module.bias.copy_(torch.from_numpy(b))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, h, w, c) images to (n, classes) logits."""
        x = x.permute(0, 3, 1, 2)
        for kind, step in zip(self.kinds, self.steps, strict=True):
            if kind == "flatten":
                # A view of channels_last memory, and the order in which the shared weights expect it.
                x = x.permute(0, 2, 3, 1).flatten(1)
            else:
                x = step(x)
                if kind in ("conv", "dense"):
                    x = F.relu(x)
        return x


def rounding(request: Request) -> Any:
    """Autocast to bfloat16 where that is asked for; forward passes and losses are computed within."""
    return torch.autocast("cpu", torch.bfloat16) if request.get("precision") == "bfloat16" else nullcontext()


def trainer(model: Twin, optimizer: Any, compiled: bool, request: Request) -> Callable[..., None]:
    """A function that trains for one epoch over tensors in memory: f(x, y, shuffle)."""
    batch = request["batch"]

    def loss_of(xb: torch.Tensor, yb: torch.Tensor) -> torch.Tensor:
        with rounding(request):
            return F.cross_entropy(model(xb), yb)

    if compiled:
        # From a clean slate and for fixed shapes, or an earlier batch size would make it compile for any
        # size.
        torch._dynamo.reset()
    loss_fn = torch.compile(loss_of, dynamic=False) if compiled else loss_of

    def epoch(x: torch.Tensor, y: torch.Tensor, shuffle: bool) -> None:
        order = torch.randperm(len(x)) if shuffle else torch.arange(len(x))
        for start in range(0, len(x), batch):
            chosen = order[start : start + batch]
            loss = loss_fn(x[chosen], y[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return epoch


def adam(model: Twin) -> Any:
    """Adam in one fused kernel, the fastest of PyTorch's, with Keras's epsilon."""
    return torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)


def train(request: Request) -> Measurement:
    """One epoch over `images` images in shuffled batches, with Adam; checked with SGD."""
    batch, n = request["batch"], request["images"]
    network, images, labels = networks.asked_for(request)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)

    def make(compiled: bool) -> Measurement:
        few = networks.CHECK_STEPS * batch
        checked = Twin(network).train()
        sgd = torch.optim.SGD(checked.parameters(), lr=networks.CHECK_RATE)
        trainer(checked, sgd, compiled, request)(x[:few], y[:few], False)
        with torch.inference_mode(), rounding(request):
            answer = torch.softmax(checked(x[:64]), 1).float().numpy()
        model = Twin(network).train()
        epoch = trainer(model, adam(model), compiled, request)
        return Measurement(lambda: epoch(x, y, True), n, lambda: answer)

    return fastest({"eager": partial(make, False), "compiled": partial(make, True)}, 0.0)


def inference(
    network: networks.Network, kind: str, x: torch.Tensor, request: Request
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Images to probabilities: eager, compiled, or compiled with constants folded and weights packed."""
    model = Twin(network).eval()

    def probabilities(xb: torch.Tensor) -> torch.Tensor:
        with rounding(request):
            return torch.softmax(model(xb), 1).float()

    if kind == "eager":
        return probabilities
    torch._dynamo.reset()
    torch._inductor.config.freezing = kind == "frozen"
    run: Callable[[torch.Tensor], torch.Tensor] = torch.compile(probabilities, dynamic=False)
    with torch.inference_mode():
        run(x)
    return run


def predict(request: Request) -> Measurement:
    """NumPy images in, NumPy probabilities out, `batch` at a time; one image when `images` is 1."""
    batch, n = request["batch"], request["images"]
    network, x, _ = networks.asked_for(request)

    def make(kind: str) -> Measurement:
        run = inference(network, kind, torch.from_numpy(x[:batch]), request)

        def once() -> Any:
            with torch.inference_mode():
                parts = [run(torch.from_numpy(x[i : i + batch])) for i in range(0, n, batch)]
                return (parts[0] if len(parts) == 1 else torch.cat(parts)).numpy()

        return Measurement(once, n, lambda: once()[:64])

    return fastest({kind: partial(make, kind) for kind in ("eager", "compiled", "frozen")})


def train_memory(request: Request) -> Measurement:
    """Peak of the process while it trains, above the arrays it was given, in bytes."""
    network, x, y = networks.asked_for(request)
    model = Twin(network).train()
    trainer(model, adam(model), False, request)(torch.from_numpy(x), torch.from_numpy(y), True)
    return Measurement(None, 1, note="eager", value=peak_above(x, y))


def predict_memory(request: Request) -> Measurement:
    """Peak of the process while it predicts, above the images it was given, in bytes."""
    network, x, _ = networks.asked_for(request)
    run = inference(network, "eager", torch.from_numpy(x), request)
    with torch.inference_mode():
        for part in torch.from_numpy(x).split(request["batch"]):
            run(part)
    return Measurement(None, 1, note="eager", value=peak_above(x))


def first_step(request: Request) -> Measurement:
    """When the first step of training was done, in seconds since the epoch; eager or compiled, as asked."""
    network, x, y = networks.asked_for(request)
    model = Twin(network).train()
    epoch = trainer(model, adam(model), request["way"] == "compiled", request)
    epoch(torch.from_numpy(x), torch.from_numpy(y), True)
    return Measurement(None, 1, value=time.time())


def conv(request: Request) -> Measurement:
    """One pass of one convolution, NHWC in memory, in the fastest of the ways there are, or in the way that was asked for."""
    ways = variants(request)
    asked = request.get("way", "")
    return fastest({asked: ways[asked]} if asked else ways, 0.05)


def conv_bfloat16(request: Request) -> Measurement:
    """The same with tensors of bfloat16."""
    return fastest(torch_bfloat16.variants(request), 0.05)


def matmul(request: Request) -> Measurement:
    """(m, k) times (k, n)."""
    a, b = (torch.from_numpy(operand) for operand in matmul_operands(request))
    out = torch.empty(request["m"], request["n"])
    return Measurement(lambda: torch.mm(a, b, out=out), 1, lambda: torch.mm(a, b).numpy())


if __name__ == "__main__":
    torch.set_num_threads(thread_count())
    serve(
        lambda: {"torch": torch.__version__},
        {
            "train": train,
            "predict": predict,
            "train_memory": train_memory,
            "predict_memory": predict_memory,
            "first_step": first_step,
            "conv": conv,
            "conv_bfloat16": conv_bfloat16,
            "matmul": matmul,
            "op": op,
        },
    )
