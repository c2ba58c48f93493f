# twistd -ny tests/fast_demo.tac
#
# The gateway before its simulated providers, which answer at once and can also be asked directly:
# their addresses are in the log. FAST_DEMO_LISTEN is the gateway's endpoint. For tests.

import os

from twisted.application.service import Application
from twisted.internet import reactor
from twisted.logger import Logger

from aigateway.config import Config
from aigateway.simulator import Simulators
from aigateway.tap import compose, with_simulators

simulators = Simulators(reactor, pace=0)
config = with_simulators(Config(listen=os.environ["FAST_DEMO_LISTEN"]), simulators.listen())
application = Application("aigateway")
simulators.setServiceParent(application)
compose(config, reactor).setServiceParent(application)
for name, url in simulators.base_urls.items():
    Logger(namespace="fast_demo").info("simulated {name} at {url}", name=name, url=url)
