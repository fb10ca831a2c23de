"""What operators see: logs, metrics and spans. Never what users say, who they are, tokens or a DSN.

Every field, label and attribute is named here; nothing that a request, an agent or the database says is passed on.
"""

from keepsay.server.observe.logs import careful_logger
from keepsay.server.observe.metrics import Metrics
from keepsay.server.observe.observation import Observation
from keepsay.server.observe.requests import Requests
from keepsay.server.observe.store import observed
from keepsay.server.observe.tracing import Tracing

__all__ = ["Metrics", "Observation", "Requests", "Tracing", "careful_logger", "observed"]
