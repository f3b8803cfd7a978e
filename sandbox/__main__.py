"""`python -m sandbox`: the sandbox on its own."""

from __future__ import annotations

import argparse
import sys

from sandbox.app import run
from sandbox.twilio import ACCOUNT_SID, AUTH_TOKEN


def main() -> int:
    """Parse the arguments and serve until a signal; 1 when the port is busy."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="Stand-ins for Stripe, SendGrid and Twilio on one port.",
        epilog="Prints one JSON line with its URL when it is ready.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port (default)")
    parser.add_argument("--sendgrid-events-url", help="where SendGrid's signed Event Webhook goes")
    parser.add_argument("--twilio-inbound-url", help="where messages from customers are posted")
    parser.add_argument("--twilio-account-sid", default=ACCOUNT_SID)
    parser.add_argument("--twilio-auth-token", default=AUTH_TOKEN)
    given = parser.parse_args()
    try:
        run(**vars(given))
    except OSError as error:
        sys.stderr.write(f"{error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
