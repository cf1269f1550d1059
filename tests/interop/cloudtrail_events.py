"""Makes calls that CloudTrail records, and lists the recorded events, with boto3.

make URL COUNT      makes COUNT calls of several services, and prints their time window in seconds since 1970; it is shorter than
                    WINDOW_MAX seconds
ids URL START END   prints the ids of the events in a window, both seconds inclusive, one on each line
"""

import sys
import time

import boto3
from botocore.exceptions import ClientError


# LocalEmu keeps fractions of seconds, unlike CloudTrail. So two consecutive windows of whole seconds miss the events between them.
# The collector does not split a window that is this short (sources/aws_cloudtrail/slices.rs).
WINDOW_MAX = 8
# Attempts until the calls fit in the window. The first is slow, because LocalEmu starts services on their first call.
RUNS_MAX = 20


def client(url, service):
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client(service, endpoint_url=url, region_name="us-east-1", **keys)


def refused(call):
    try:
        call()
    except ClientError:
        return
    sys.exit("a call that is to be refused was not")


def make(url, count):
    iam, sts, sqs, s3 = (client(url, service) for service in ("iam", "sts", "sqs", "s3"))
    calls = [
        lambda i: iam.create_user(UserName=f"user-{i}"),
        lambda i: sqs.create_queue(QueueName=f"queue-{i}"),
        lambda i: sts.get_caller_identity(),
        lambda i: refused(lambda: iam.get_role(RoleName=f"nobody-{i}")),
        lambda i: s3.list_buckets(),
        lambda i: iam.tag_user(UserName=f"user-{i}", Tags=[{"Key": "Wörter", "Value": "naïve ✓"}]),
    ]
    for run in range(RUNS_MAX):
        start = int(time.time())
        for i in range(int(count)):
            calls[i % len(calls)](f"{run}-{i // len(calls)}")
        end = int(time.time()) + 1
        time.sleep(3)  # so that later calls, and those of another run, are outside the window
        if end - start < WINDOW_MAX and len(list(events(url, start, end))) == int(count):
            print(start, end)
            return
    sys.exit("the machine is too slow, or calls are not recorded")


def events(url, start, end):
    pages = client(url, "cloudtrail").get_paginator("lookup_events")
    for page in pages.paginate(StartTime=int(start), EndTime=int(end)):
        yield from page["Events"]


def ids(url, start, end):
    for event in events(url, start, end):
        print(event["EventId"])


{"make": make, "ids": ids}[sys.argv[1]](*sys.argv[2:])
