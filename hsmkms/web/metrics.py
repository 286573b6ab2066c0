"""What Prometheus asks for, on a listener of its own: whoever reaches it may read it, and can ask for nothing else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs

from hsmkms.web.app import Limits
from hsmkms.web.responses import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

_logger = logging.getLogger(__name__)

_PATH: Final = "/metrics"
_PLAIN: Final = ((hdrs.CONTENT_TYPE, "text/plain; charset=utf-8"),)
_LIMITS: Final = Limits(body_bytes=0, header_bytes=4096, connections=16)


class Metrics:
    """The one handler of the metrics' listener."""

    def __init__(self, text: Callable[[str], tuple[bytes, str]]) -> None:
        """Answer with `text`, of an Accept header: the body and its content type."""
        self._text = text

    @property
    def limits(self) -> Limits:
        """What a client may take."""
        return _LIMITS

    async def __call__(self, request: web.BaseRequest) -> Response:
        """Answer one request."""
        response = self._answer(request)
        if not request.content.is_eof():
            response.force_close()  # nobody reads a body here
        return response

    def _answer(self, request: web.BaseRequest) -> Response:
        if request.raw_path.partition("?")[0] != _PATH:
            return Response(404, _PLAIN, b"only /metrics is here\n")
        if request.method != hdrs.METH_GET:
            return Response(405, (*_PLAIN, (hdrs.ALLOW, hdrs.METH_GET)), b"only GET\n")
        try:
            body, content_type = self._text(", ".join(request.headers.getall(hdrs.ACCEPT, ())))
        except Exception:  # the last resort: logged whole, shown to nobody
            _logger.exception("the metrics could not be written")
            return Response(500, _PLAIN, b"see the log\n")
        return Response(200, ((hdrs.CONTENT_TYPE, content_type),), body)
