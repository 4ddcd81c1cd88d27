"""What holds for every test."""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are made anew by each worker, and would give one test as many names."""
    return argname if isinstance(val, bytes) else None
