"""What is measured: figures, the groups that measure them together, and the rows they become."""
import dataclasses
import statistics

GROUPS = []


@dataclasses.dataclass
class Figure:
    """One row. `goal` is a bound: at least it, or at most it when `most`."""

    id: str
    says: str
    unit: str
    goal: float
    most: bool = False
    beside: str = ""  # what the reference is; "" for none

    def met(self, value):
        return value <= self.goal if self.most else value >= self.goal


@dataclasses.dataclass
class Sample:
    """What one round found. A figure whose value is itself a ratio gives the reference it was divided by."""

    value: float
    beside: float | None = None


@dataclasses.dataclass
class Group:
    """Figures that one set-up measures. `measure(bench)` is a generator: each of its values is a round, {id: Sample}."""

    figures: list
    measure: object


def group(*figures):
    """Decorates a generator function with the figures whose rounds it yields."""

    def register(measure):
        GROUPS.append(Group(list(figures), measure))
        return measure

    return register


def shorten(number):
    """Four digits are all that a measurement is worth."""
    return None if number is None else float(f"{number:.4g}")


def row(figure, samples):
    """The row of a figure as JSON has it; without samples its value is None."""
    values = [sample.value for sample in samples]
    references = [sample.beside for sample in samples if sample.beside is not None]
    value = statistics.median(values) if values else None
    reference = statistics.median(references) if references else None
    made = {
        "id": figure.id,
        "value": shorten(value),
        "unit": figure.unit,
        "goal": figure.goal,
        "met": value is not None and figure.met(value),
        "runs": [shorten(one) for one in values],
        "beside": None,
    }
    if reference:
        ratio = value if figure.unit == "ratio" else value / reference
        made["beside"] = {"what": figure.beside, "value": shorten(reference), "ratio": shorten(ratio)}
    return made


def number(value):
    """A number as people read it: 4.12 M, 512 k, 3.2."""
    if value is None:
        return "–"
    for size, letter in ((1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e6 if letter == ' M' else 1e3):.3g}{letter}"
    return f"{value:.4g}"


def line(made, figure):
    """A row as one line of the table."""
    beside = made["beside"]
    reference = f"{number(beside['value'])} {beside['what']} ({beside['ratio']:.2f}×)" if beside else ""
    return (made["id"], number(made["value"]), made["unit"], ("≤ " if figure.most else "≥ ") + number(made["goal"]), "yes" if made["met"] else "NO", reference)


def table(lines):
    """Lines of a table as text, its columns as wide as they must be."""
    lines = [("figure", "value", "unit", "goal", "met", "beside it, in the same run"), *lines]
    widths = [max(len(one[column]) for one in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(one, widths)).rstrip() for one in lines)
