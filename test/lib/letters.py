"""Messages of any bytes into the topics of a stack, and what its subscriptions hold, to the byte. Standard library only.

Both travel in protobuf's wire format (google.pubsub.v1.PublishRequest) over st-local's admin routes."""
import json
import urllib.error
import urllib.parse
import urllib.request

TOPIC = "st-ingest"
DEAD_LETTERS = "st-dead-letter-operator"
REQUEST_BYTES = 9 << 20
REQUEST_MESSAGES = 500


# ---- The wire format -------------------------------------------------------------------------------------------------
def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def member(number, value):
    """A length-delimited member."""
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def read_varint(wire, at):
    number = shift = 0
    while True:
        number |= (wire[at] & 0x7F) << shift
        shift += 7
        at += 1
        if wire[at - 1] < 0x80:
            return number, at


def members(wire):
    """(number, value) of each member: bytes, or a number."""
    at = 0
    while at < len(wire):
        tag, at = read_varint(wire, at)
        size, at = read_varint(wire, at)
        if tag & 7 == 2:
            yield tag >> 3, bytes(wire[at:at + size])
            at += size
        else:
            yield tag >> 3, size


# ---- Messages --------------------------------------------------------------------------------------------------------
def message(data, attributes=None, ordering_key=""):
    """A PubsubMessage; data and attributes may be texts or bytes."""
    entries = (member(2, member(1, key) + member(2, value)) for key, value in (attributes or {}).items())
    return member(1, data) + b"".join(entries) + (member(5, ordering_key) if ordering_key else b"")


class Letter:
    """A message as a subscription holds it."""

    def __init__(self, wire):
        self.data, self.attributes, self.id = b"", {}, None
        for number, value in members(wire):
            if number == 1:
                self.data = value
            elif number == 2:
                entry = dict(members(value))
                self.attributes[entry.get(1, b"").decode()] = entry.get(2, b"").decode()
            elif number == 3:
                self.id = value.decode()


def call(stack, path, body=None):
    request = urllib.request.Request(f"{stack.env['ST_LOCAL_PUBSUB_ADMIN_URL']}/_local/pubsub{path}", body)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.read()
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{path}: {error.code} {error.read().decode(errors='replace')[:400]}") from None


def publish(stack, messages, topic=TOPIC):
    """Publishes wire messages in order, in requests within the service's limits; returns their ids."""
    ids = []
    name = member(1, f"projects/{stack.env['PUBSUB_PROJECT_ID']}/topics/{topic}")
    while messages:
        size = count = 0
        while count < len(messages[:REQUEST_MESSAGES]) and (count == 0 or size + len(messages[count]) < REQUEST_BYTES):
            size += len(messages[count])
            count += 1
        reply = call(stack, "/publish", name + b"".join(member(2, one) for one in messages[:count]))
        ids += json.loads(reply)["messageIds"]
        messages = messages[count:]
    return ids


def held(stack, subscription=DEAD_LETTERS):
    """Everything that the subscription holds, the oldest first."""
    name = urllib.parse.quote(f"projects/{stack.env['PUBSUB_PROJECT_ID']}/subscriptions/{subscription}")
    letters = [Letter(wire) for number, wire in members(call(stack, f"/messages?subscription={name}")) if number == 2]
    return sorted(letters, key=lambda letter: int(letter.id))


def numbers(stack, subscription):
    """{"ready", "leased", "delayed", "acked", "nacked", "expired", "deadLettered"} of a subscription."""
    stats = json.loads(call(stack, ""))
    return next(s for s in stats["subscriptions"] if s["name"].endswith(f"/{subscription}"))
