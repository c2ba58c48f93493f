"""Makes ``twistd aigateway`` known. There is no ``__init__.py`` above: the folder is Twisted's."""

from twisted.application.service import ServiceMaker

aigateway = ServiceMaker("aigateway", "aigateway.tap", "An AI gateway for every provider.", "aigateway")
