"""What comes from elsewhere, held against the form that it must have."""

from typing import Any

JSON_NAMES = {dict: "an object", list: "a list", str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def expected(value: Any, form: Any, name: str) -> Any:
    """The value itself, once it has the form. Raises ValueError, which names the first place that has another.

    form : a type; a tuple of types, one of which; [form] for a list of these, [one, two] for a list of two; {str: form} for
    an object with any names; {"name": form, ...} for one with these names and perhaps others; object for anything.
    """
    kinds = form if isinstance(form, tuple) else (form if isinstance(form, type) else type(form),)
    if not isinstance(value, kinds) or (isinstance(value, bool) and not {bool, object} & set(kinds)):
        wanted = " or ".join(JSON_NAMES.get(kind, kind.__name__) for kind in kinds)
        raise ValueError(f"{name} is {str(value)[:40]!r} in place of {wanted}")
    if isinstance(form, list):
        if len(form) > 1 and len(value) != len(form):
            raise ValueError(f"{name} is a list of {len(value)} in place of {len(form)}")
        for number, item in enumerate(value):
            expected(item, form[number if len(form) > 1 else 0], f"{name}/{number}"[:80])
    elif isinstance(form, dict):
        inner = dict.fromkeys(value, form[str]) if str in form else form
        for key, kind in inner.items():
            if key not in value:
                raise ValueError(f"{name} has no {key}")
            expected(value[key], kind, f"{name}/{key}"[:80])
    return value
