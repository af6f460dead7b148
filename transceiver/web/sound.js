// What goes out, and the ear on it: the microphone, or a tone that needs none.

import { Ear } from './ear.js';
import { $, note } from './page.js';

const TONE = 0.25;           // gain of the test tone

export async function openAudio({ source, muted }) {
  const context = new AudioContext({ latencyHint: 'interactive' });
  const audio = {
    context, stream: null, microphone: null, oscillator: null, gain: null, out: null, in: null,
  };
  try {
    if (source === 'tone') {
      const destination = context.createMediaStreamDestination();
      const gain = audio.gain = new GainNode(context, { gain: muted ? 0 : TONE });
      audio.oscillator = new OscillatorNode(context, { frequency: Number($('pitch').value) });
      audio.oscillator.connect(gain).connect(destination);
      audio.oscillator.start();
      audio.stream = destination.stream;
      audio.out = new Ear(context, gain);
    } else {
      if (!navigator.mediaDevices) throw new Error('the microphone needs https or localhost');
      audio.microphone = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: true, noiseSuppression: false, autoGainControl: true },
      });
      audio.stream = audio.microphone;
      audio.out = new Ear(context, context.createMediaStreamSource(audio.stream));
    }
    await Promise.race([context.resume(), new Promise(done => setTimeout(done, 1000))]);
    if (context.state !== 'running') note('The browser found no audio device: nothing is to be heard', true);
  } catch (error) {
    closeAudio(audio);
    throw error;
  }
  return audio;
}

export function closeAudio(audio) {
  audio.oscillator?.stop();
  audio.microphone?.getTracks().forEach(track => track.stop());
  $('echo').srcObject = null;
  if (audio.context.state !== 'closed') audio.context.close();
}

export function setMuted(audio, muted) {
  if (audio.gain) audio.gain.gain.value = muted ? 0 : TONE;
  audio.microphone?.getTracks().forEach(track => { track.enabled = !muted; });
}
