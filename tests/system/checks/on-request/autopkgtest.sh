# The tests that come with the package, as Debian's own infrastructure runs them.

tests_of_the_package() {
  autopkgtest --no-built-binaries pool-server.deb pool-server-dev.deb pool-server-views.deb source/ -- null
}
check 'autopkgtest passes' tests_of_the_package
