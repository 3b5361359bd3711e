"""The sections of a report that tell of trainings and of exported files."""

from __future__ import annotations

from typing import Any

from pymoo_nas.reports._content import Content, ExportedFile, Mistake, TrainedContent
from pymoo_nas.reports._html import (
    Html,
    code,
    duration,
    element,
    number,
    pairs,
    percent,
    table,
)
from pymoo_nas.reports._page import Page
from pymoo_nas.reports._training_charts import (
    MAX_CLASSES,
    accuracy_chart,
    confusion_chart,
    loss_chart,
)


def add_training(page: Page, content: Content) -> None:
    """The course and the test of the main training."""
    parts: list[Any] = []
    if "training" in content.missing:
        parts.append(element("p", content.missing["training"], class_="missing"))
    if content.main is None:
        page.section("training", "Training", *parts)
        return
    training = content.trainings[content.main]
    described = training.described
    parts += [element("p", code(training.title), f", in {training.name}"), _facts(training)]
    best = int(described.get("best_epoch", 1))
    if not training.epochs.empty:
        charts = [
            page.chart(
                "accuracy",
                accuracy_chart(training.epochs, best),
                f"Accuracy over {len(training.epochs)} epochs; the dashed line marks epoch {best}, "
                "whose weights were kept.",
            ),
            page.chart("loss", loss_chart(training.epochs, best), "Training loss over the epochs."),
        ]
        parts += [element("h3", "Course"), element("div", *charts, class_="grid")]
    parts.append(element("h3", "Confusion matrix"))
    n_classes = len(training.confusion)
    if 0 < n_classes <= MAX_CLASSES:
        right = int(training.confusion.to_numpy().diagonal().sum())
        total = int(training.confusion.to_numpy().sum())
        parts.append(
            page.chart(
                "confusion",
                confusion_chart(training.confusion),
                f"Confusion matrix of {n_classes} classes: {right:,} of {total:,} test images are "
                "named rightly (blue fields); orange fields are mistakes.",
            )
        )
    else:
        many = f"{n_classes} classes are too many for a chart; see {training.name}/confusion.csv."
        none = f"{training.name}/confusion.csv is missing."
        parts.append(element("p", many if n_classes else none))
    if not training.recall.empty:
        rows = [
            [str(row["class"]), int(row["images"]), int(row["correct"]), percent(row["recall"])]
            for row in training.recall.head(200).to_dict("records")
        ]
        shown = table(["class", "images", "correct", "recall"], rows, "Recall by class")
        parts.append(element("details", element("summary", "Recall by class"), shown))
    parts += [element("h3", "Worst mistakes"), _mistakes(content)]
    page.section("training", "Training", *parts)


def _facts(training: TrainedContent) -> Html:
    described = training.described
    settings = training.settings
    return pairs(
        {
            "test accuracy": percent(described.get("test_accuracy")),
            "balanced accuracy": percent(described.get("balanced_accuracy")),
            "validation accuracy": percent(described.get("validation_accuracy")),
            "test loss": number(described.get("test_loss")),
            "parameters": described.get("parameters"),
            "multiply-accumulates per image": training.flops,
            "images": described.get("dataset"),
            "classes": len(described.get("class_names", ())),
            "time": duration(described.get("seconds")),
            "device": described.get("device"),
            "processor": described.get("processor"),
            "threads": described.get("threads"),
            **{name.replace("_", " "): value for name, value in settings.items()},
        }
    )


def _mistakes(content: Content) -> Html:
    if content.no_mistakes:
        return element("p", content.no_mistakes, class_="missing")
    if not content.mistakes:
        return element("p", "Every test image is named rightly.")
    told = element(
        "p", "The test images with the highest probability for a class that is not theirs."
    )
    shown = element("ul", *map(_mistake, content.mistakes), class_="mistakes")
    return element("div", told, shown)


def _mistake(mistake: Mistake) -> Html:
    alt = (
        f"Test image {mistake.place} of class {mistake.true}, named {mistake.named} with "
        f"{percent(mistake.probability)}"
    )
    image = element("img", src=mistake.picture, alt=alt)
    named = element(
        "span", "named ", element("b", mistake.named), f" {percent(mistake.probability)}"
    )
    return element("li", image, element("span", "is ", element("b", mistake.true)), named)


def add_rivals(page: Page, content: Content) -> None:
    """All trainings in the folder, side by side."""
    if not content.trainings:
        told = element("p", content.missing.get("training", ""), class_="missing")
        page.section("rivals", "All trainings", told)
        return
    rows = [
        [
            training.name,
            code(training.title),
            training.described.get("parameters"),
            training.flops,
            len(training.epochs),
            percent(training.described.get("test_accuracy")),
            percent(training.described.get("balanced_accuracy")),
            duration(training.described.get("seconds")) if training.described else "interrupted",
        ]
        for training in content.trainings
    ]
    columns = ["folder", "network", "parameters", "multiply-accumulates", "epochs"]
    columns += ["test accuracy", "balanced accuracy", "time"]
    page.section("rivals", "All trainings", table(columns, rows, "Trainings in the run folder"))


def add_exports(page: Page, content: Content) -> None:
    """The exported files of all trainings, with what the exports measured."""
    rows = [
        _export_row(training, exported)
        for training in content.trainings
        for exported in training.exports
    ]
    if not rows:
        told = element("p", content.missing.get("exports", ""), class_="missing")
        page.section("exports", "Exported files", told)
        return
    columns = ["file", "format", "bytes", "accuracy", "ms, one image", "ms per image, 32 at once"]
    columns += ["torch: ms, one image", "processor"]
    measured = "Latencies were measured on one thread when the file was exported."
    unknown = any(e.measured is None for t in content.trainings for e in t.exports)
    note = " Where no record of the export is kept, only the size is known." if unknown else ""
    shown = table(columns, rows, "Exported files")
    page.section("exports", "Exported files", element("p", measured + note), shown)


def _export_row(training: TrainedContent, exported: ExportedFile) -> list[Any]:
    measured = exported.measured or {}
    return [
        code(f"{training.name}/{exported.name}"),
        str(measured.get("to", "–")),
        exported.n_bytes,
        percent(measured.get("accuracy")),
        measured.get("latency"),
        measured.get("batch_latency"),
        (measured.get("torch") or {}).get("latency"),
        str(measured.get("processor", "–")),
    ]
