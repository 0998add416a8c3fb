"""Record every order, fill and cash flow in PostgreSQL without ever stalling a strategy.

    import blotter

    with blotter.Producer("binance", account="main") as producer:
        seq = producer.order(order)          # a ccxt order, or a dict with Blotter's field names; less than a microsecond
        await producer.committed(seq)        # only where it matters

Open one producer for each exchange and process, and share it among all strategies and threads.
"""

from blotter._core import FIELDS, Full, __version__
from blotter._fields import BalanceFields, CashFields, InstrumentFields, OrderFields, PositionFields, TradeFields
from blotter._frames import frame
from blotter._producer import Book, Producer
from blotter._restoring import to_ccxt
from blotter._values import Event, Stats

__all__ = [
    "FIELDS", "BalanceFields", "Book", "CashFields", "Event", "Full", "InstrumentFields", "OrderFields", "PositionFields", "Producer", "Stats",
    "TradeFields", "__version__", "frame", "to_ccxt",
]  # fmt: skip
