"""A process that asks for runs in a span, and says which span that was, and which runs."""

import sys

from opentelemetry.sdk.trace import TracerProvider

from tests.unit.integrations import measured
from tickwork import Scheduler
from tickwork.integrations.opentelemetry import instrument

if __name__ == "__main__":
    provider = TracerProvider()
    scheduler = Scheduler(sys.argv[1])
    instrument(scheduler, provider)
    tracer = provider.get_tracer("shop")
    with scheduler.connect():
        task = scheduler.add_task(measured.seen, "interval", hours=1, id="stored")
        with tracer.start_as_current_span("order") as span:
            submitted, ran = scheduler.submit(measured.seen), task.run()
        dropped = task.run()
        scheduler.cancel_run(dropped.id)
        with tracer.start_as_current_span("again") as again:
            retried = scheduler.retry_run(dropped.id)
    for run, asked in ((submitted, span), (ran, span), (retried, again)):
        context = asked.get_span_context()
        print(run.id, f"{context.trace_id:032x}", f"{context.span_id:016x}")
