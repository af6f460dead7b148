"""A WebRTC endpoint behind a relay, which hands plain audio and messages to an application.

``endpoint.Endpoint`` is the core: sessions behind one socket, without the socket. A ``session``
puts ``ice``, ``dtls``, ``srtp`` with ``audio``, and ``sctp`` with ``datachannel`` together; these
four do not know one another. ``sdp`` and ``negotiation`` turn an offer into an answer. ``voice``
makes sound of packets and packets of sound, ``realtime`` holds the conversation of Realtime events;
both are cores as well, and ``backend``, the border to the application, joins them for agents.

``aio`` drives the core under asyncio over the socket that ``sockets`` opens, ``http`` is its
signalling as an ASGI application, ``node`` joins them as the ``settings`` say, whose docstring
describes the file of ``transceiver serve``, and ``demo`` brings all of it up on one machine.
``embed.Edge`` is a node as a part of somebody's own ASGI application. By hand it is::

    server = TransceiverServer(endpoint, Address.parse("10.1.0.2:5000"), backend)
    await server.start()
    app.mount("/", create_app(server))
"""
