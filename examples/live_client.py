"""Say a recording in another voice over the WebSocket of `speechssl app`, in blocks, as a microphone would.

python examples/live_client.py talk.wav spoken.wav --voice eric --address ws://127.0.0.1:7860/live
"""

import argparse
import json

import soundfile
from websockets.sync.client import connect

parser = argparse.ArgumentParser()
parser.add_argument("source")
parser.add_argument("output")
parser.add_argument("--voice", default="eric")
parser.add_argument("--consent", default="", help="for a voice of your own: 'Ada Smith: my own audiobook'")
parser.add_argument("--address", default="ws://127.0.0.1:7860/live")
args = parser.parse_args()

samples, rate = soundfile.read(args.source, dtype="int16", always_2d=True)
with connect(args.address, compression=None) as socket, soundfile.SoundFile(args.output, "w", rate, 1) as output:

    def answer(kind):
        """Read until sound or a message of this kind; sound is written."""
        while isinstance(got := socket.recv(), str):
            message = json.loads(got)
            if message["type"] in (kind, "error"):
                return message if message["type"] == kind else exit(message["text"])
        output.buffer_write(got, dtype="int16")

    wanted = {"voice": args.voice, "consent": args.consent, "sample_rate": rate, "sample_format": "int16"}
    socket.send(json.dumps({**wanted, "realtime": False}))  # a microphone leaves realtime out
    print(f"{answer('ready')['delay_ms']} ms later")
    for start in range(0, len(samples), rate // 50):
        socket.send(samples[start : start + rate // 50, 0].tobytes())
        answer("")  # each block is answered by one
    socket.send(json.dumps({"end": True}))
    answer("")  # what was still on its way
    print(json.dumps(answer("ended")["receipt"]["voices"]))
