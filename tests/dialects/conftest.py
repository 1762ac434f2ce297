"""Every test that takes ``speech`` runs in both dialects."""

from __future__ import annotations

import pytest

from tests.dialects.speech import DIALECTS, Speech


@pytest.fixture(params=DIALECTS)
def speech(request: pytest.FixtureRequest) -> Speech:
    return Speech(request.param)


@pytest.fixture
def provider() -> Speech:
    return Speech("provider")


@pytest.fixture
def documented() -> Speech:
    return Speech("documented")
