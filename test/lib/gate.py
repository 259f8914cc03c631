"""Gates: a TCP proxy before each server, which can be shut as networks and servers fail. Standard library only."""
import asyncio
import collections
import random
import socket
import struct
import threading

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close sends RST
PIECE = 65536


def new_socket(port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    return sock


class Gate:
    """open: passes everything on. refuse: nobody listens, and what was open is reset. silent: connections are taken and nothing comes
    back. cut: each connection is reset in the middle of an answer. A connection that was silenced stays so; to_reset: until the gate opens."""

    def __init__(self, gates, target, to_reset):
        self.gates, self.target, self.to_reset = gates, target, to_reset
        self.mode = "open"
        self.tries = collections.Counter()  # connections (refuse: unknown) by mode
        self.pairs = set()
        self.swallowed = 0  # bytes of clients that went nowhere
        self.server = None
        self.holder = new_socket(0)  # keeps the port while nobody listens
        self.port = self.holder.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"

    async def listen(self):
        listener = new_socket(self.port)
        self.server = await asyncio.start_server(self.serve, sock=listener)

    def set(self, mode):
        self.gates.call(self.change(mode))

    async def change(self, mode):
        before, self.mode = self.mode, mode
        if mode == "refuse":
            self.server.close()
        if mode in ("refuse", "cut") or (before == "silent" and self.to_reset):
            self.reset_all()
        if before == "refuse" and mode != "refuse":
            await self.listen()

    def reset_all(self):
        for pair in list(self.pairs):
            pair.reset()

    async def serve(self, reader, writer):
        self.tries[self.mode] += 1
        pair = Pair(self, reader, writer)
        self.pairs.add(pair)
        try:
            await pair.run()
        finally:
            pair.reset()
            self.pairs.discard(pair)


class Pair:
    """One connection and its way on."""

    def __init__(self, gate, reader, writer):
        self.gate, self.reader, self.writer = gate, reader, writer
        self.on = None
        self.dead = gate.mode == "silent"  # was silenced: nothing passes any more
        self.left = random.randrange(1, 400) if gate.mode == "cut" else None

    async def run(self):
        try:
            far, self.on = await asyncio.open_connection(*self.gate.target)
        except OSError:
            return
        tasks = [asyncio.ensure_future(self.pump(self.reader, self.on, False)), asyncio.ensure_future(self.pump(far, self.writer, True))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()

    async def pump(self, reader, writer, is_answer):
        try:
            while piece := await reader.read(PIECE):
                self.dead = self.dead or self.gate.mode == "silent"
                if self.dead:
                    self.gate.swallowed += 0 if is_answer else len(piece)
                    continue
                if is_answer and self.left is not None:
                    piece, self.left = piece[:self.left], self.left - len(piece)
                writer.write(piece)
                await writer.drain()
                if self.left is not None and self.left <= 0:
                    return
            if self.dead and is_answer:  # the server gave up: the client does not hear of it
                await asyncio.Event().wait()
        except OSError:
            pass

    def reset(self):
        for writer in (self.writer, self.on):
            if writer:
                sock = writer.get_extra_info("socket")
                if sock and sock.fileno() >= 0:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                writer.transport.abort()


class Gates:
    """All gates of a test, on a thread of their own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.all = []
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def add(self, host, port, to_reset=False):
        gate = Gate(self, (host, port), to_reset)
        self.call(gate.listen())
        self.all.append(gate)
        return gate

    def stop(self):
        async def end():
            for gate in self.all:
                gate.server.close()
                gate.reset_all()
                gate.holder.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.call(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(30)
        self.loop.close()
