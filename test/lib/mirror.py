"""A server between the programs and ServiceTitan (or a token endpoint) that knows marked credentials only, and on demand answers with what it
was sent: servers that echo exist. Standard library only.

Programs are given marks for secrets; what the mirror passes on carries the real ones. It keeps every request, as the proof that the marks were
where they belong, and that a search for them would find them."""
import base64
import html
import http.server
import json
import secrets
import threading
import urllib.error
import urllib.parse
import urllib.request

FILLER = "The request could not be served because of what it contained, which was this and nothing else. " * 2


def mark(name):
    """A secret like no other text, with characters that forms and base64 change."""
    return f"{name}-{secrets.token_hex(8)}/+={secrets.token_hex(8)}~"


# ---- Echoes: what was sent (a text) to headers, content type and body --------------------------------------------------
def problem(sent):
    return {}, "application/problem+json", json.dumps({"title": sent[:150], "status": 400, "traceId": sent, "errors": {"Authorization": [sent], sent[:100]: [sent]}})


def oauth(sent):
    return {}, "application/json", json.dumps({"error": sent[-150:], "error_description": sent, "error_uri": sent})


def plain(sent):
    return {}, "text/plain", sent


def newest(sent):
    return {}, "text/plain", sent[-180:]


def page(sent):
    return {}, "text/html", f"<html><body>{html.escape(sent)}</body></html>"


def cut(sent):
    """The quote of it ends somewhere inside."""
    return {}, "text/plain", FILLER[:170 + secrets.randbelow(20)] + sent


def percent(sent):
    return {}, "text/plain", urllib.parse.quote(sent, safe="")


def encoded(sent):
    return {}, "text/plain", base64.b64encode(sent.encode()).decode()


def headers(sent):
    one = " ".join(sent.split())
    return {"WWW-Authenticate": f'Bearer error="{one}"', "Location": f"http://127.0.0.1:1/?{one}", "Retry-After": one, "X-Request-Echo": one, "Set-Cookie": one, "Date": one}, "text/plain", ""


def unfinished(sent):
    return {}, "application/json", '{"data":[' + json.dumps(sent)


ECHOES = (problem, oauth, plain, newest, page, cut, percent, encoded, headers, unfinished)


class Mirror:
    def __init__(self, routes, exchange, on_token=None):
        """routes: {path prefix: real URL}; exchange: {mark: real secret}."""
        self.routes, self.exchange = routes, dict(exchange)
        self.tokens = []  # marks of access tokens
        self.seen = []    # raw requests
        self.echo = None  # (path prefix, status, an echo)
        self.echoed = 0
        self.lock = threading.Lock()
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def serve(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                sent = "".join(f"{name}: {value}\n" for name, value in self.headers.items() if name in ("Authorization", "ST-App-Key")) + body
                mirror.handle(self, f"{self.command} {self.path}\n{sent}", sent, body)

            do_GET = do_POST = serve

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a client that went away
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)

    def handle(self, handler, whole, sent, body):
        with self.lock:
            self.seen.append(whole)
            echo = self.echo if self.echo and handler.path.startswith(self.echo[0]) else None
            self.echoed += echo is not None
        if echo:
            more, content_type, text = echo[2](sent)
            self.reply(handler, echo[1], content_type, text.encode(), more, reason=" ".join(sent.split())[:200])
        else:
            self.pass_on(handler, body)

    @staticmethod
    def reply(handler, status, content_type, body, more=(), reason=None):
        try:
            handler.send_response_only(status, reason)
            for name, value in {"Content-Type": content_type, **dict(more)}.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
        except OSError:
            pass  # the client had heard enough

    def real(self, text, escape=lambda value: value):
        for marked, value in self.exchange.items():
            text = text.replace(escape(marked), escape(value))
        return text

    def pass_on(self, handler, body):
        prefix = next(p for p in self.routes if handler.path.startswith(p))
        form = handler.headers.get("Content-Type", "").endswith("urlencoded")
        body = self.real(body, (lambda v: urllib.parse.quote(v, safe="")) if form else (lambda v: v)).encode() if handler.command == "POST" else None
        sent = {name: self.real(value) for name, value in handler.headers.items() if name in ("Authorization", "ST-App-Key", "Content-Type", "Accept")}
        request = urllib.request.Request(self.routes[prefix] + handler.path[len(prefix):], body, sent, method=handler.command)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                status, got = reply.status, reply
                content, kind, date = reply.read(), reply.headers["Content-Type"], reply.headers["Date"]
        except urllib.error.HTTPError as got:
            status, content, kind, date = got.code, got.read(), got.headers["Content-Type"], got.headers["Date"]
        if form and status == 200:
            content = self.mark_token(json.loads(content))
        self.reply(handler, status, kind or "application/json", content, {"Date": date} if date else {})

    def mark_token(self, answer):
        with self.lock:
            marked = mark("token")
            self.exchange[marked] = answer["access_token"]
            self.tokens.append(marked)
        return json.dumps({**answer, "access_token": marked}).encode()


# ---- The search ------------------------------------------------------------------------------------------------------
PART = 12


def forms(secret):
    raw = secret.encode()
    percent_ = urllib.parse.quote(secret, safe="")
    yield from (secret, percent_, percent_.lower())
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"x" * before + raw).decode()[4 if before else 0:].rstrip("=")[:-1]


class Search:
    """Finds any part of PART characters of any of the secrets, in any of the forms, by looking each piece of a text up."""

    def __init__(self, named):
        self.pieces = {}
        for name, secret in named.items():
            for form in forms(secret):
                for i in range(len(form) - PART + 1):
                    self.pieces[form[i:i + PART]] = name

    def find(self, text):
        """{name: where it stands in the text}."""
        found = {}
        for i in range(len(text) - PART + 1):
            name = self.pieces.get(text[i:i + PART])
            if name:
                found.setdefault(name, text[max(0, i - 60):i + PART + 20])
        return found
