"""The only place that names adapters: from settings to a service, for the web process and for the commands.

Laws:

- nothing here decides: it opens, connects and closes;
- neither the web process nor a command loads the PKCS#11 module; both speak to hosts.
"""
