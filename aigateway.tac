# twistd -ny aigateway.tac
#
# The same gateway as `twistd aigateway`, for where a .tac file is the custom: it reads
# aigateway.toml in the working directory, or else keys from the environment. With
# AIGATEWAY_DEMO=1 it brings simulated providers up instead.

import os

from twisted.application.service import Application

from aigateway.tap import Options, makeService

options = Options()
options.parseOptions(["--demo"] if os.environ.get("AIGATEWAY_DEMO") else [])
application = Application("aigateway")
makeService(options).setServiceParent(application)
