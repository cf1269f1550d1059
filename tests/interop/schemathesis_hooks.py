"""Prevents schemathesis from revoking its own token."""

import os

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.path_parameters.get("id") == os.environ["OWN_TOKEN"]:
        case.path_parameters["id"] = "0" * 16
