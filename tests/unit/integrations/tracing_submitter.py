"""A process that submits a run in a span, and says which span that was."""

import sys

from opentelemetry.sdk.trace import TracerProvider

from tests.unit.integrations import measured
from tickwork import Scheduler
from tickwork.integrations.opentelemetry import instrument

if __name__ == "__main__":
    provider = TracerProvider()
    scheduler = Scheduler(sys.argv[1])
    instrument(scheduler, provider)
    with scheduler.connect(), provider.get_tracer("shop").start_as_current_span("order") as span:
        run = scheduler.submit(measured.seen)
        context = span.get_span_context()
        print(f"{context.trace_id:032x}", f"{context.span_id:016x}", run.id)
