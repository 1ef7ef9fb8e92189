"""Log messages are read before they are looked at, in their order, and never more of them than there is room for."""

import asyncio
import os

from enforcer.flows.log_queue import LogQueue


class Kernel:
    """Datagrams of five messages each, behind a descriptor that is readable while there are any."""

    def __init__(self, datagrams):
        self._end, self._begin = os.pipe()
        os.set_blocking(self._end, False)
        self._datagrams = [[b"%d" % (at * 5 + n) for n in range(5)] for at in range(datagrams)]
        os.write(self._begin, b"." * datagrams)

    def fileno(self):
        return self._end

    def read(self):
        if not self._datagrams:
            return []
        os.read(self._end, 1)
        return self._datagrams.pop(0)

    def left(self):
        return len(self._datagrams)

    def close(self):
        os.close(self._end)
        os.close(self._begin)


def test_what_is_too_much_stays_in_the_kernel():
    kernel = Kernel(10)
    intake = LogQueue(kernel, capacity=12)
    intake.fill()
    assert (len(intake), kernel.left()) == (15, 7)
    intake.fill()
    assert kernel.left() == 7
    assert intake.take() == [b"%d" % number for number in range(15)]
    kernel.close()


def test_everything_comes_once_and_in_order_and_then_it_waits():
    kernel = Kernel(200)
    intake, taken = LogQueue(kernel), []

    async def run():
        while len(taken) < 1000:
            intake.fill()
            found = intake.take()
            taken.extend(found)
            if not found:
                async with asyncio.timeout(60):
                    await intake.wait()
        waiting = asyncio.create_task(intake.wait())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(run())
    assert taken == [b"%d" % number for number in range(1000)]
    kernel.close()
