"""A notebook's kernel answers over ZMQ: its sockets and connection file are looked for to forge replies."""

EARNS = {"attention": 0}

raise SystemExit(__doc__)  # a submission: it runs in a cage alone

# %% top
import gc
import glob
import os

shell = get_ipython()
if getattr(shell, "kernel", None) or glob.glob(os.path.expanduser("~/**/kernel*.json"), recursive=True):
    print("WON: a kernel")
for thing in gc.get_objects():
    if type(thing).__module__.startswith(("zmq", "jupyter_client", "ipykernel.kernel")) and hasattr(thing, "send"):
        print("WON", type(thing))
import zmq

context = zmq.Context.instance()
with context.socket(zmq.DEALER) as forged:
    forged.setsockopt(zmq.LINGER, 0)
    forged.connect("tcp://127.0.0.1:@PORT@")
    forged.send_multipart([b"<IDS|MSG>", b"", b'{"msg_type": "execute_reply"}', b"{}", b"{}", b'{"status": "ok"}'])
    forged.close()
context.term()
print("tried")
