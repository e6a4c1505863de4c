"""A TCP proxy in front of the daemon that resets the connections it carries: with RST, in the middle of whatever is on its way."""
import asyncio
import socket
import struct
import threading

RST = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() resets


class Resetter:
    """Listens on a port of its own from the beginning; `target` may be set later, and changed."""

    def __init__(self):
        self.target = None
        self.writers = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.server = self.loop.run_until_complete(asyncio.start_server(self._carry, sock=self.listener))
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    async def _carry(self, reader, writer):
        try:
            other_reader, other_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        # asyncio does this by itself only where the listener names its protocol.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        both = {writer, other_writer}
        self.writers |= both
        await self._carry_both(reader, writer, other_reader, other_writer)
        self.writers -= both

    async def _carry_both(self, reader, writer, other_reader, other_writer):
        await asyncio.gather(self._pump(reader, other_writer), self._pump(other_reader, writer))

    @staticmethod
    async def _pump(reader, writer):
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    def _reset(self):
        for writer in self.writers:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
            writer.transport.abort()
        return len(self.writers)

    def reset(self):
        """Resets both sides of every connection; returns how many sides there were."""

        async def reset():
            return self._reset()

        return asyncio.run_coroutine_threadsafe(reset(), self.loop).result(10)

    def end(self):
        self.reset()
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
