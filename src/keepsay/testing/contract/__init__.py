"""The suite that every store passes: a store of your own is held to the same promises as keepsay's.

    # conftest.py
    pytest.register_assert_rewrite("keepsay.testing.contract")

    # test_mine.py
    from keepsay.testing.contract import StoreContract

    class TestMine(StoreContract):
        @pytest.fixture
        async def store(self):
            yield MyStore()

        @pytest.fixture
        def expire_lease(self, store):
            return store.expire_lease  # async def (owner, conversation_id): the run's lease has just run out

The tests are coroutines: set pytest-asyncio's ``asyncio_mode`` to ``auto``. Each makes users of its own, so one store
may serve them all, in any order.
"""

from __future__ import annotations

from keepsay.testing.contract.allowances import AllowanceContract
from keepsay.testing.contract.appending import AppendContract
from keepsay.testing.contract.creating import CreateContract
from keepsay.testing.contract.cutting import CutContract
from keepsay.testing.contract.erasing import EraseContract
from keepsay.testing.contract.isolation import IsolationContract
from keepsay.testing.contract.keys import KeyContract
from keepsay.testing.contract.order import OrderContract
from keepsay.testing.contract.reading import ReadContract
from keepsay.testing.contract.runs import RunContract
from keepsay.testing.contract.statuses import StatusContract
from keepsay.testing.contract.summaries import SummaryContract
from keepsay.testing.contract.takeovers import ExpireLease, TakeoverContract
from keepsay.testing.contract.windows import WindowContract

__all__ = [
    "AllowanceContract",
    "AppendContract",
    "CreateContract",
    "CutContract",
    "EraseContract",
    "ExpireLease",
    "IsolationContract",
    "KeyContract",
    "OrderContract",
    "ReadContract",
    "RunContract",
    "StatusContract",
    "StoreContract",
    "SummaryContract",
    "TakeoverContract",
    "WindowContract",
]


class StoreContract(
    CreateContract,
    ReadContract,
    AppendContract,
    KeyContract,
    OrderContract,
    WindowContract,
    StatusContract,
    RunContract,
    TakeoverContract,
    AllowanceContract,
    CutContract,
    SummaryContract,
    IsolationContract,
    EraseContract,
):
    """All topics. Supply the fixtures ``store`` and ``expire_lease``."""
