"""The threads that work off a queue. Deliveries have their own: receivers that let one wait hold up no job."""

from concurrent.futures import ThreadPoolExecutor

import dramatiq


class Workers:
    """A worker for each of some brokers, which share nothing: dramatiq forbids two over one."""

    def __init__(self, *workers: dramatiq.Worker) -> None:
        self.each = workers

    def start(self) -> None:
        """Begin."""
        for worker in self.each:
            worker.start()

    def stop(self, timeout: int) -> None:
        """Finish what is at hand and end, all at the same time; after ``timeout`` milliseconds it is handed back."""
        with ThreadPoolExecutor(len(self.each), thread_name_prefix="stopping") as pool:
            for stopped in [pool.submit(worker.stop, timeout) for worker in self.each]:
                stopped.result()
