"""The network between the workers and the services: a relay per service whose connections can be cut, refused or frozen. Standard library only."""
import asyncio
import contextlib
import socket
import struct
import threading

CHUNK = 65536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close sends RST and drops what is under way


class Relay:
    """One service's address as the workers know it."""

    def __init__(self, network, target):
        host, _, port = target.rpartition(":")
        self.target = (host, int(port))
        self.network = network
        self.writers = set()
        self.refusing = False
        self.flowing = asyncio.Event()
        self.flowing.set()

    async def listen(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.address = "127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        if self.refusing:
            self.abort(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            self.abort(writer)
            return
        self.writers |= {writer, far_writer}
        await asyncio.gather(self.pump(reader, far_writer), self.pump(far_reader, writer))
        self.writers -= {writer, far_writer}

    async def pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self.flowing.wait()
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()

    @staticmethod
    def abort(writer):
        with contextlib.suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()

    def cut(self):
        """Resets every open connection; returns how many there were."""
        count = len(self.writers) // 2
        for writer in list(self.writers):
            self.abort(writer)
        return count


class Network:
    """Runs the relays on a thread of its own: {name: "host:port" of the service} -> addresses by the same names."""

    def __init__(self, targets):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.relays = self.call(self.begin(targets))

    async def begin(self, targets):
        relays = {name: Relay(self, target) for name, target in targets.items()}
        for relay in relays.values():
            await relay.listen()
        return relays

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def address(self, name):
        return self.relays[name].address

    async def change(self, relay, cut=False, refusing=None, flowing=None):
        if refusing is not None:
            relay.refusing = refusing
        if flowing is not None:
            (relay.flowing.set if flowing else relay.flowing.clear)()
        return relay.cut() if cut else 0

    def cut(self, name):
        return self.call(self.change(self.relays[name], cut=True))

    def refuse(self, name):
        """Cuts what is open and accepts nothing until heal()."""
        return self.call(self.change(self.relays[name], cut=True, refusing=True))

    def freeze(self, name):
        """Nothing moves until heal(), and nobody is told."""
        return self.call(self.change(self.relays[name], flowing=False))

    def heal(self, name):
        self.call(self.change(self.relays[name], refusing=False, flowing=True))

    async def end(self):
        for relay in self.relays.values():
            relay.server.close()
            relay.flowing.set()
            relay.cut()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def stop(self):
        self.call(self.end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()
