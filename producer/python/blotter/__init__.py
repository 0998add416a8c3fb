"""Record every order and trade in PostgreSQL without ever stalling a strategy.

    import blotter

    with blotter.Producer("binance") as producer:
        seq = producer.order(order)          # a ccxt order, or a dict with Blotter's field names; about a microsecond
        await producer.committed(seq)        # only where it matters

Open one producer for each exchange and process, and share it among all strategies and threads.
"""

from blotter._core import ORDER_FIELDS, TRADE_FIELDS, Event, Full, Stats, __version__
from blotter._producer import Producer

__all__ = ["Event", "Full", "ORDER_FIELDS", "Producer", "Stats", "TRADE_FIELDS", "__version__"]
