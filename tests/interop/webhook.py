"""Signs and verifies webhooks with the vendors' own libraries: standardwebhooks and slack_sdk.

    target/interop/venv/bin/python webhook.py < DELIVERIES

A delivery is one line of JSON. For {"sign": "standard" or "slack", "secret", "id", "time", "body"} the response is the headers as
JSON; for {"verify": …, "secret", "headers", "body"} it is true or false.
"""

import datetime
import json
import sys

from slack_sdk.signature import SignatureVerifier
from standardwebhooks.webhooks import Webhook


def sign(kind, secret, id, time, body):
    if kind == "slack":
        signature = SignatureVerifier(secret).generate_signature(timestamp=time, body=body)
        return {"x-slack-request-timestamp": time, "x-slack-signature": signature}
    at = datetime.datetime.fromtimestamp(int(time), datetime.timezone.utc)
    return {"webhook-id": id, "webhook-timestamp": time, "webhook-signature": Webhook(secret).sign(id, at, body)}


def verify(kind, secret, headers, body):
    try:
        if kind == "slack":
            return SignatureVerifier(secret).is_valid_request(body, headers)
        Webhook(secret).verify(body, headers, json_parse=False)
    except Exception:  # each library has its own exceptions, and some also raise those of Python
        return False
    return True


for line in sys.stdin:
    delivery = json.loads(line)
    act = sign if "sign" in delivery else verify
    kind = delivery.pop("sign", None) or delivery.pop("verify")
    print(json.dumps(act(kind, **delivery)))
