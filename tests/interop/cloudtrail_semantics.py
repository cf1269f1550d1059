"""Sends the same queries to servers of CloudTrail's LookupEvents, with boto3.

record URL CORPUS   makes calls that CloudTrail records, writes the records to CORPUS, newest first, and prints their time window
ask URL KEY SECRET START END   queries that window, and prints the responses as JSON
"""

import json
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ATTRIBUTES = [
    ("AccessKeyId", "test"),
    ("EventName", "CreateUser"),
    ("EventName", "DeleteUser"),
    ("EventName", "Nothing"),
    ("EventSource", "sts.amazonaws.com"),
    ("ReadOnly", "true"),
    ("ReadOnly", "false"),
    ("Username", "test"),
    ("ResourceType", "AWS::IAM::Role"),
    ("ResourceName", "user-3"),
]


def client(url, service, key="test", secret="test", token=None):
    config = Config(parameter_validation=False, retries={"total_max_attempts": 1})
    return boto3.client(
        service, endpoint_url=url, region_name="us-east-1", config=config,
        aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token,
    )


def pages(cloudtrail, **question):
    answer = cloudtrail.lookup_events(**question)
    yield answer["Events"]
    while answer.get("NextToken"):
        answer = cloudtrail.lookup_events(NextToken=answer["NextToken"], **question)
        yield answer["Events"]


def record(url, corpus):
    iam, sts = client(url, "iam"), client(url, "sts")
    trust = {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}
    start = int(time.time())
    iam.create_role(RoleName="reader", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
    for i in range(60):
        iam.create_user(UserName=f"user-{i}")
    for i in range(20):
        iam.delete_user(UserName=f"user-{i}")
        sts.get_caller_identity()
    end = int(time.time())
    time.sleep(2)  # lookups are recorded too, and must be outside the window
    wanted, lines = 1 + 60 + 20 + 20, []
    for page in pages(client(url, "cloudtrail"), StartTime=start, EndTime=end + 1):
        for event in page:
            entry = json.loads(event["CloudTrailEvent"])
            # here records name resources as lookups do; the service's records name them like this
            kinds = entry.pop("resources", None) or []
            entry["resources"] = [{"type": r["ResourceType"], "ARN": r["ResourceName"]} for r in kinds]
            lines.append(json.dumps(entry))
    if len(lines) != wanted:
        sys.exit(f"{len(lines)} of {wanted} calls were recorded")
    with open(corpus, "w") as file:
        file.write("\n".join(lines))
    print(json.dumps({"start": start, "end": end + 1}))


def failure(ask):
    try:
        ask()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None


def ask(url, key, secret, start, end):
    cloudtrail = client(url, "cloudtrail", key, secret)
    window = {"StartTime": int(start), "EndTime": int(end)}
    listed = [event for page in pages(cloudtrail, **window) for event in page]
    member = ["EventId", "EventName", "EventSource", "ReadOnly", "AccessKeyId", "Username"]
    # without resources, the service lists [] and LocalEmu omits the member
    answers = {"events": [[event.get(name) for name in member] + event.get("Resources", []) for event in listed]}
    answers["seconds"] = [int(event["EventTime"].timestamp()) for event in listed]
    answers["page sizes"] = {size: [len(page) for page in pages(cloudtrail, MaxResults=size, **window)] for size in (1, 7, 50)}
    for name, value in ATTRIBUTES:
        attribute = {"LookupAttributes": [{"AttributeKey": name, "AttributeValue": value}]}
        answers[f"{name} {value}"] = [e["EventId"] for page in pages(cloudtrail, MaxResults=7, **attribute, **window) for e in page]
    attributes = [{"AttributeKey": "ReadOnly", "AttributeValue": value} for value in ("true", "false")]
    token = cloudtrail.lookup_events(MaxResults=7, **window)["NextToken"]
    answers["errors"] = {
        "two attributes": failure(lambda: cloudtrail.lookup_events(LookupAttributes=attributes)),
        "unknown token": failure(lambda: cloudtrail.lookup_events(NextToken="unknown")),
    }
    answers["errors of the service alone"] = {
        "token of another question": failure(lambda: cloudtrail.lookup_events(NextToken=token, MaxResults=8, **window)),
        "page too large": failure(lambda: cloudtrail.lookup_events(MaxResults=51)),
        "page of nothing": failure(lambda: cloudtrail.lookup_events(MaxResults=0)),
        "backwards": failure(lambda: cloudtrail.lookup_events(StartTime=int(end), EndTime=int(start))),
        "unknown attribute": failure(
            lambda: cloudtrail.lookup_events(LookupAttributes=[{"AttributeKey": "Colour", "AttributeValue": "red"}])
        ),
    }
    role = {"RoleArn": "arn:aws:iam::000000000000:role/reader", "RoleSessionName": "INC-7"}
    session = client(url, "sts", key, secret).assume_role(**role)
    given = session["Credentials"]
    answers["session"] = session["AssumedRoleUser"]["Arn"], sorted(given)
    identity = client(url, "sts", given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]).get_caller_identity()
    answers["identity"] = identity["Account"], identity["Arn"]
    answers["regions"] = failure(lambda: client(url, "account", key, secret).list_regions())
    print(json.dumps(answers))


{"record": record, "ask": ask}[sys.argv[1]](*sys.argv[2:])
