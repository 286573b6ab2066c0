"""Huawei Cloud KMS, `/v1.0/{project_id}/kms/...`, as the official SDKs and plain REST clients speak it.

Laws:

- project_id is the account's name; a request that names another is refused before anything else of it is looked at;
- a signature decides whenever there is one; X-Auth-Token counts only without;
- the order of checks: credentials; account; operation; fields; then the service's;
- every answer carries X-Request-Id, the only place where the official SDK looks for it;
- a number in an answer is a string where the cloud's is, and times are milliseconds where the cloud's are: the SDK
  turns each member into its documented type, and fails or lies on another;
- a plaintext is hidden in a request's representation, and a `core.secrets.Plaintext` from there on;
- where this cloud allows an action in fewer states than the core does, that is `states.POLICY`.
"""
