"""Every name is this machine; mitmproxy has no option for that."""


def server_connect(data):
    data.server.address = ("127.0.0.1", data.server.address[1])
