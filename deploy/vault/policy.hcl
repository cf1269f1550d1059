# What exhibit needs to capture Vault: settings, names and accessors, and no secret. Made of the
# source's table. A token that lacks a part of it gets the rest, and what is missing is a gap.
# Where a path begins with `+`, put the names of your AWS and database engines instead: with `+`, the
# token may also read what a KV engine has at such a path.

path "+/config" {
  capabilities = ["list"]
}

path "+/config/*" {
  capabilities = ["read"]
}

path "+/config/root" {
  capabilities = ["read"]
}

path "+/roles" {
  capabilities = ["list"]
}

path "+/roles/*" {
  capabilities = ["read"]
}

path "auth/+/config" {
  capabilities = ["read"]
}

path "auth/+/config/client" {
  capabilities = ["read"]
}

path "auth/+/role" {
  capabilities = ["list"]
}

path "auth/+/role/*" {
  capabilities = ["read"]
}

path "auth/token/accessors" {
  capabilities = ["list", "sudo"]
}

path "auth/token/lookup-accessor" {
  capabilities = ["update"]
}

path "identity/entity/id" {
  capabilities = ["list"]
}

path "identity/entity/id/*" {
  capabilities = ["read"]
}

path "identity/group/id" {
  capabilities = ["list"]
}

path "identity/group/id/*" {
  capabilities = ["read"]
}

path "sys/audit" {
  capabilities = ["read", "sudo"]
}

path "sys/auth" {
  capabilities = ["read"]
}

path "sys/config/auditing/request-headers" {
  capabilities = ["read", "sudo"]
}

path "sys/leases/count" {
  capabilities = ["read"]
}

path "sys/leases/lookup/*" {
  capabilities = ["list", "sudo"]
}

path "sys/mounts" {
  capabilities = ["read"]
}

path "sys/policies/acl" {
  capabilities = ["list"]
}

path "sys/policies/acl/*" {
  capabilities = ["read"]
}
