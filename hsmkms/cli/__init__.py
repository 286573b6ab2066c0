"""The commands: read the configuration, call what `wiring`, `supervisor` and `instance` offer, show the result.

Laws:

- results go to standard output, everything else to standard error; with `--json` standard output is one JSON value;
- an error is one sentence and an exit code of sysexits.h: 78 the installation is wrong, 75 try again, 65 no such thing;
  70 a defect of ours, the only one with a traceback after its sentence;
- `audit verify` ends with 1 if the trail does not hold;
- the commands for clients of the API end with 1 if the service refused or did not answer, and with 2 if what they were
  given is wrong;
- secrets are shown only by the command that makes them.
"""
