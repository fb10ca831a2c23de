"""The throw-away servers that tests share, each started once."""

import pytest

pytest_plugins = ["keepsay.testing.postgres"]
pytest.register_assert_rewrite("keepsay.testing.contract")
