"""`chainrule train digits`: from a plain NumPy loss to a trained classifier."""

import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import chainrule as cr
from chainrule import nn
from chainrule.cli.backward import print_backward
from chainrule.cli.command import CommandError, require
from chainrule.cli.examples import load_example
from chainrule.nn.tree import Array, Tree

_CHECKED_ROWS = 8
_DEFAULT_RATES = {"adam": 2e-3, "sgd": 0.2}


@dataclass(frozen=True)
class Settings:
    """What the command line can change."""

    epochs: int = 40
    batch: int = 32
    optimizer: str = "adam"
    rate: float | None = None
    seed: int = 0
    out: Path = Path("out")
    plots: bool = True

    def build_optimizer(self) -> nn.Optimizer[Any]:
        """The optimizer, with its own usual rate where none was asked for."""
        rate = _DEFAULT_RATES[self.optimizer] if self.rate is None else self.rate
        return nn.Adam(rate) if self.optimizer == "adam" else nn.GradientDescent(rate)


@dataclass(frozen=True)
class Scores:
    """Loss and accuracy on the training set and on the test set."""

    train_loss: float
    test_loss: float
    train_accuracy: float
    test_accuracy: float


def train_digits(settings: Settings, console: Console) -> None:
    """Derive, check, train, report, and draw, in this order."""
    require("sklearn", extra="data", package="scikit-learn", purpose="the digits data set")
    if settings.plots:
        require("matplotlib", extra="plot", package="matplotlib", purpose="drawing (or --no-plots)")
        _make_folder(settings.out)

    model = load_example("digits")
    data = nn.load_digits(settings.seed)
    rng = np.random.default_rng(settings.seed)
    params = nn.dense(model.SIZES, rng)

    layers = "-".join(map(str, model.SIZES))
    console.print(
        f"[bold]{layers}[/] classifier, {_count(params):,} parameters, "
        f"{len(data.x_train)} training images and {len(data.x_test)} test images"
    )
    print_backward(console, model.loss, model.SHAPES, "backward pass")
    _check_derivative(model, params, data, console)

    started = time.perf_counter()
    params, history = _train(model, params, data, settings, rng, console)
    seconds = time.perf_counter() - started
    _report(history[-1], seconds, console)
    if settings.plots:
        _draw(model, params, data, history, settings.out, console)


def _check_derivative(model: ModuleType, params: Tree, data: nn.Dataset, console: Console) -> None:
    """Compare the derived gradient of a small batch with numerical differences."""
    x, y = data.x_train[:_CHECKED_ROWS], data.y_train[:_CHECKED_ROWS]
    try:
        cr.check(lambda theta: model.loss(theta, x, y), params)
    except cr.DerivativeError as error:
        raise CommandError(f"the derivative of the loss is wrong: {error}") from error
    console.print(f"[green]✓[/] derivative checked on a batch of {len(x)}")


def _train(
    model: ModuleType,
    params: Tree,
    data: nn.Dataset,
    settings: Settings,
    rng: np.random.Generator,
    console: Console,
) -> tuple[Tree, list[Scores]]:
    """Train; the last parameters, and the scores before training and after every epoch."""
    history = [_scores(model, params, data)]
    epochs = nn.fit(
        cr.compile(cr.value_and_grad(model.loss)),
        params,
        data.x_train,
        data.y_train,
        optimizer=settings.build_optimizer(),
        epochs=settings.epochs,
        batch=settings.batch,
        rng=rng,
    )
    with _progress(console) as progress:
        task = progress.add_task("training", total=settings.epochs, loss="", test="")
        try:
            for epoch in epochs:
                params = epoch.params
                scores = _scores(model, params, data)
                history.append(scores)
                progress.update(
                    task,
                    advance=1,
                    loss=f"{scores.train_loss:.4g}",
                    test=f"{scores.test_accuracy:.2%}",
                )
        except FloatingPointError as error:
            raise CommandError(str(error)) from error
    return params, history


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs   loss {task.fields[loss]}   test {task.fields[test]}"),
        TimeElapsedColumn(),
        console=console,
    )


def _scores(model: ModuleType, params: Tree, data: nn.Dataset) -> Scores:
    def accuracy(x: Array, labels: np.ndarray[Any, np.dtype[np.int64]]) -> float:
        return float(np.mean(model.logits(params, x).argmax(axis=1) == labels))

    return Scores(
        train_loss=float(model.loss(params, data.x_train, data.y_train)),
        test_loss=float(model.loss(params, data.x_test, data.y_test)),
        train_accuracy=accuracy(data.x_train, data.labels_train),
        test_accuracy=accuracy(data.x_test, data.labels_test),
    )


def _report(scores: Scores, seconds: float, console: Console) -> None:
    table = Table(title=f"after {seconds:.1f} s of training", title_justify="left")
    table.add_column("")
    table.add_column("loss", justify="right")
    table.add_column("accuracy", justify="right")
    table.add_row("training", f"{scores.train_loss:.4g}", f"{scores.train_accuracy:.2%}")
    table.add_row("test", f"{scores.test_loss:.4g}", f"[bold]{scores.test_accuracy:.2%}[/]")
    console.print(table)


def _make_folder(out: Path) -> None:
    """Before the training, so that a folder that cannot be written fails at once."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"the folder {out} cannot be made: {error}") from error


def _draw(
    model: ModuleType,
    params: Tree,
    data: nn.Dataset,
    history: list[Scores],
    out: Path,
    console: Console,
) -> None:
    from chainrule.cli.plots import confusion_matrix, draw_confusion, draw_learning_curve

    predicted = model.logits(params, data.x_test).argmax(axis=1)
    counts = confusion_matrix(data.labels_test, predicted, data.classes)
    try:
        paths = (
            draw_learning_curve(
                out / "digits-learning-curve.png",
                loss={
                    "training": [s.train_loss for s in history],
                    "test": [s.test_loss for s in history],
                },
                accuracy={
                    "training": [s.train_accuracy for s in history],
                    "test": [s.test_accuracy for s in history],
                },
            ),
            draw_confusion(out / "digits-confusion-matrix.png", counts),
        )
    except OSError as error:
        raise CommandError(f"the pictures cannot be written to {out}: {error}") from error
    for path in paths:
        console.print(f"wrote {path}", highlight=False, soft_wrap=True, markup=False)


def _count(params: dict[str, Array]) -> int:
    return sum(leaf.size for leaf in params.values())
