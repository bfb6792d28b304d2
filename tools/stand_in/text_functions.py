"""The node classes of texts, numbers and choices, and those that only change a text's conditioning."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tools.stand_in.node_class import Run
from tools.stand_in.node_values import Conditioning, Inputs, LoadedModel, NodeResult, NodeRun
from tools.stand_in.scene import LoraUse

RATIOS = {
    "1:1 (Square)": (1, 1), "2:3 (Portrait Photo)": (2, 3), "3:2 (Photo)": (3, 2), "3:4 (Portrait Standard)": (3, 4),
    "4:3 (Standard)": (4, 3), "9:16 (Portrait Widescreen)": (9, 16), "16:9 (Widescreen)": (16, 9), "21:9 (Ultrawide)": (21, 9),
}  # fmt: skip
"""The choices of ResolutionSelector."""

LONGEST_EXPRESSION, LARGEST_EXPONENT = 1_000, 64
OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.USub: operator.neg,
    ast.UAdd: operator.pos, ast.Invert: operator.invert, ast.Not: operator.not_, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min, "max": max, "abs": abs, "round": round, "sqrt": math.sqrt, "ceil": math.ceil, "floor": math.floor, "int": int,
    "float": float, "log": math.log, "log2": math.log2, "log10": math.log10, "sin": math.sin, "cos": math.cos, "tan": math.tan,
    "sum": lambda *values: sum(values),
}  # fmt: skip


def pass_on(*keys: str) -> Run:
    """Hands inputs on as outputs, in this order."""
    return lambda run, inputs: NodeResult(tuple(inputs.get(key) for key in keys))


def with_lora(run: NodeRun, value: LoadedModel | None, name: str, strength: float) -> LoadedModel | None:
    return value if value is None else replace(value, loras=(*value.loras, LoraUse(name, strength)))


def _lora(run: NodeRun, inputs: Inputs) -> NodeResult:
    name = run.load("loras", inputs["lora_name"])
    model = with_lora(run, inputs["model"], name, inputs["strength_model"])
    if "clip" not in inputs:
        return NodeResult((model,))
    return NodeResult((model, with_lora(run, inputs["clip"], name, inputs["strength_clip"])))


def _switch_wants(inputs: Inputs) -> tuple[str, ...]:
    if "switch" not in inputs:
        return ("switch",)
    return ("on_true",) if inputs["switch"] else ("on_false",)


LAZY: dict[str, Callable[[Inputs], tuple[str, ...]]] = {"ComfySwitchNode": _switch_wants}
"""Of a class that does not run all that is linked to it: the inputs that it wants next."""


def _switch(run: NodeRun, inputs: Inputs) -> NodeResult:
    return NodeResult((inputs[_switch_wants(inputs)[0]],))


def _resolution(run: NodeRun, inputs: Inputs) -> NodeResult:
    across, down = RATIOS[inputs["aspect_ratio"]]
    scale = math.sqrt(inputs["megapixels"] * 1024 * 1024 / (across * down))
    multiple = inputs["multiple"]
    return NodeResult((round(across * scale / multiple) * multiple, round(down * scale / multiple) * multiple))


def _calculate(run: NodeRun, inputs: Inputs) -> NodeResult:
    names = {name.removeprefix("values."): value for name, value in inputs.items() if name.startswith("values.")}
    text = inputs["expression"]
    if len(text) > LONGEST_EXPRESSION:
        raise ValueError("the expression is too long")
    value = _evaluate(ast.parse(text.strip(), mode="eval").body, names)
    if not isinstance(value, int | float) or not math.isfinite(float(value)):
        raise ValueError(f"Math Expression '{text}' must evaluate to a numeric result")
    return NodeResult((float(value), int(value), bool(value)))


def _evaluate(node: ast.AST, names: dict[str, Any]) -> Any:
    """The value of an arithmetic expression: numbers, names, operators and the functions above; nothing else."""
    match node:
        case ast.Constant(value=bool() | int() | float() as value):
            return value
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            base, exponent = _evaluate(left, names), _evaluate(right, names)
            if abs(exponent) > LARGEST_EXPONENT:
                raise ValueError(f"an exponent of {exponent} is too large")
            return base**exponent
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_evaluate(left, names), _evaluate(right, names))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_evaluate(operand, names))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in OPERATORS:
            return OPERATORS[type(op)](_evaluate(left, names), _evaluate(right, names))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _evaluate(body if _evaluate(test, names) else orelse, names)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
            return FUNCTIONS[name](*(_evaluate(argument, names) for argument in arguments))
    raise ValueError(f"Math Expression holds what is no arithmetic: {ast.unparse(node)}")


def _show(source: str) -> Run:
    """Shows a value in the editor, and hands it on as a text."""

    def show(run: NodeRun, inputs: Inputs) -> NodeResult:
        text = as_text(inputs.get(source))
        return NodeResult((text,), ui={"text": [text]})

    return show


def as_text(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float | bool) else "None" if value is None else f"<{type(value).__name__}>"


TEXT_FUNCTIONS: dict[str, Run] = {
    "LoraLoader": _lora,
    "LoraLoaderModelOnly": _lora,
    "LoraLoaderBypass": _lora,
    "LoraLoaderBypassModelOnly": _lora,
    "ConditioningZeroOut": lambda run, inputs: NodeResult((Conditioning(""),)),
    "LotusConditioning": lambda run, inputs: NodeResult((Conditioning(""),)),
    "FluxDisableGuidance": lambda run, inputs: NodeResult((replace(inputs["conditioning"], guidance=None),)),
    "PrimitiveString": pass_on("value"),
    "PrimitiveStringMultiline": pass_on("value"),
    "PrimitiveInt": pass_on("value"),
    "PrimitiveFloat": pass_on("value"),
    "PrimitiveBoolean": pass_on("value"),
    "StringConcatenate": lambda run, inputs: NodeResult((f"{inputs['string_a']}{inputs['delimiter']}{inputs['string_b']}",)),
    "StringReplace": lambda run, inputs: NodeResult((inputs["string"].replace(inputs["find"], inputs["replace"]),)),
    "StringTrim": lambda run, inputs: NodeResult((inputs["string"].strip(),)),
    "TextGenerate": pass_on("prompt"),
    "ComfySwitchNode": _switch,
    "ComfyMathExpression": _calculate,
    "ResolutionSelector": _resolution,
    "PreviewAny": _show("source"),
    "CreateBoundingBoxes": lambda run, inputs: NodeResult((None, inputs["editor_state"], inputs["editor_state"]), ui={"boxes": []}),
}
"""TextGenerate writes no text of its own: it gives back the prompt, so that a picture shows what was asked for."""
