from transceiver.backend.python import VoiceAgent


class Parrot(VoiceAgent):
    def on_start(self):
        self.heard = b""

    def on_audio(self, pcm):
        self.heard += pcm

    def on_speech_started(self, at):
        self.heard = self.heard[-self.rate :]  # half a second, for its first syllable

    async def on_speech_stopped(self, at):
        self.play(self.heard)
        self.finish()
