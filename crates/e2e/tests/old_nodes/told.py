"""How both peers tell a test what they see: one JSON object a line on stdout."""

import json
import sys
import threading

from google.protobuf.unknown_fields import UnknownFieldSet

_lock = threading.Lock()


def tell(event, **what):
    """Says that something happened."""
    with _lock:
        sys.stdout.write(json.dumps({"event": event, **what}) + "\n")
        sys.stdout.flush()


def unknown(message):
    """The numbers of fields that an old node doesn't know, in a message and what it holds."""
    numbers = [field.field_number for field in UnknownFieldSet(message)]
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in value:
                numbers += unknown(part)
    return numbers
