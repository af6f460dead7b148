"""A WebRTC endpoint that stands behind a relay and hands plain audio to an application.

``endpoint.Endpoint`` is the core: sessions behind one socket, without the socket. A ``session``
puts ``ice``, ``dtls``, ``srtp`` and ``audio`` together; those four do not know one another. ``sdp``
and ``negotiation`` turn an offer into an answer. ``aio`` drives the core under asyncio over the
socket that ``sockets`` opens, ``http`` is its signalling as an ASGI application, ``backend`` the
border to the application, ``settings`` documents the file of ``transceiver serve``, and ``demo``
brings all of it up on one machine.

To embed it in an application of one's own::

    server = TransceiverServer(endpoint, Address.parse("10.1.0.2:5000"), backend)
    await server.start()
    app.mount("/", create_app(server))
"""
