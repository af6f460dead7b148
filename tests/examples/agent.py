import socketserver
import sys
from array import array


class Parrot(socketserver.StreamRequestHandler):
    def handle(self):
        heard, quiet = [], 99
        while header := self.rfile.read(3):
            sound = self.rfile.read(int.from_bytes(header[1:], "big"))
            if header[0] == 0x10:  # 20 ms of the caller's voice
                quiet = 0 if max(array("h", sound)) > 1000 else quiet + 1
                heard = [*heard, header + sound] if quiet < 30 else []
                if quiet == 29:  # 600 ms of silence: say it all back
                    self.wfile.write(b"".join(heard))


socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Parrot).serve_forever()
