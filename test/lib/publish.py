"""Messages straight into a topic of the local Pub/Sub, with attributes and many at once, as no program of ours publishes them. Plain HTTP/2 without
flow control: a call stays below what every server takes at first. Standard library only."""
import socket
import struct

BATCH_BYTES = 48 << 10  # a connection's first window is 64 KiB
BATCH_MESSAGES = 1000
REPLY_S = 60
DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def member(number, value):
    """A length-delimited protobuf field."""
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def message_of(data, attributes):
    pairs = b"".join(member(2, member(1, key) + member(2, value)) for key, value in attributes.items())
    return member(2, member(1, data) + pairs)


def header(name, value):
    """Literal, not indexed, not Huffman-coded; names and values are shorter than 127 bytes."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def read_exactly(sock, size):
    out = b""
    while len(out) < size:
        part = sock.recv(size - len(out))
        if not part:
            raise ConnectionError("the local Pub/Sub closed the connection")
        out += part
    return out


def read_reply(sock):
    """The call's message, without its gRPC prefix; the stream's end ends it."""
    reply = b""
    while True:
        head = read_exactly(sock, 9)
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF
        payload = read_exactly(sock, int.from_bytes(head[:3], "big"))
        if kind in (SETTINGS, PING) and not flags & ACK:
            sock.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
        if kind == DATA and stream == 1:
            reply += payload
        if kind in (DATA, HEADERS) and stream == 1 and flags & END_STREAM:
            return reply[5:]


def ids_of(reply):
    """PublishResponse: message_ids = 1, each shorter than 127 bytes."""
    ids, at = [], 0
    while at < len(reply):
        size = reply[at + 1]
        ids.append(reply[at + 2:at + 2 + size].decode())
        at += 2 + size
    return ids


def call(address, path, body):
    host, port = address.rsplit(":", 1)
    names = {":method": "POST", ":scheme": "http", ":path": path, ":authority": address, "content-type": "application/grpc", "te": "trailers"}
    body = b"\0" + struct.pack(">I", len(body)) + body
    parts = [body[at:at + 16384] for at in range(0, len(body), 16384)]
    with socket.create_connection((host, int(port)), REPLY_S) as sock:
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0) +
                     frame(HEADERS, END_HEADERS, 1, b"".join(header(k, v) for k, v in names.items())) +
                     b"".join(frame(DATA, END_STREAM if part is parts[-1] else 0, 1, part) for part in parts))
        return read_reply(sock)


def batches(encoded):
    batch, size = [], 0
    for item in encoded:
        if batch and (size + len(item) > BATCH_BYTES or len(batch) == BATCH_MESSAGES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(item)
    if batch:
        yield batch


def publish(env, topic, messages):
    """Messages: (data, attributes) each; returns their ids, in order."""
    name = member(1, f"projects/{env.get('PUBSUB_PROJECT_ID') or env['BQ_PROJECT_ID']}/topics/{topic}")
    ids = []
    for batch in batches([message_of(data, attributes) for data, attributes in messages]):
        got = ids_of(call(env["PUBSUB_EMULATOR_HOST"], "/google.pubsub.v1.Publisher/Publish", name + b"".join(batch)))
        if len(got) != len(batch):
            raise ConnectionError(f"{topic} took {len(got)} of {len(batch)} messages")
        ids += got
    return ids
