"""Publishes any bytes to a topic of the local Pub/Sub: one gRPC call over HTTP/2, by hand, because the standard library has neither.

The programs publish only messages that they can read; a test also wants those that nobody can."""
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
ACK, END_STREAM, END_HEADERS = 1, 1, 4
TIMEOUT_S = 30


class PublishError(Exception):
    pass


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])


def field(number, value):
    """A length-delimited field of a protocol buffer."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def read_fields(message):
    """Values of the length-delimited fields; the answer has no other kind."""
    at = 0
    while at < len(message):
        numbers = []
        for _ in range(2):
            shift = number = 0
            while True:
                byte = message[at]
                at, number, shift = at + 1, number | (byte & 127) << shift, shift + 7
                if byte < 128:
                    break
            numbers.append(number)
        yield message[at:at + numbers[1]].decode()
        at += numbers[1]


def literal(name, value):
    """A header as HPACK writes it without table and without Huffman code; all of ours are shorter than 127 bytes."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def read_exactly(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise PublishError("the connection ended before the answer")
        data += more
    return data


def read_answer(connection):
    """The answer's DATA; what its trailers say is only looked at when there is none."""
    body = b""
    while True:
        head = read_exactly(connection, 9)
        kind, flags = head[3], head[4]
        payload = read_exactly(connection, int.from_bytes(head[:3], "big"))
        if kind == SETTINGS and not flags & ACK:
            connection.sendall(frame(SETTINGS, ACK, 0))
        elif kind in (RST_STREAM, GOAWAY):
            raise PublishError(f"the server ended the call: {payload!r}")
        elif kind == DATA:
            body += payload
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            if len(body) < 5:
                raise PublishError(f"the call failed: {payload!r}")
            return body[5:]


def publish(address, project, topic, messages):
    """Publishes the messages (bytes, or pairs of bytes and attributes) in one request; returns their ids."""
    body = field(1, f"projects/{project}/topics/{topic}".encode())
    for message in messages:
        data, attributes = message if isinstance(message, tuple) else (message, {})
        pairs = [field(2, field(1, key.encode()) + field(2, value.encode())) for key, value in attributes.items()]
        body += field(2, field(1, data) + b"".join(pairs))
    host, _, port = address.rpartition(":")
    headers = b"".join(literal(*pair) for pair in ((":method", "POST"), (":scheme", "http"), (":path", "/google.pubsub.v1.Publisher/Publish"),
                                                   (":authority", address), ("content-type", "application/grpc"), ("te", "trailers")))
    try:
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection:
            connection.sendall(PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, headers) +
                               frame(DATA, END_STREAM, 1, struct.pack(">BI", 0, len(body)) + body))
            return list(read_fields(read_answer(connection)))
    except OSError as error:
        raise PublishError(f"could not publish to {topic}: {error}") from None
